import { readFile } from "node:fs/promises";
import * as Type from "typebox";
import { globMatches } from "#lib/capability";
import { AiosError, errnoOf } from "#lib/errors";
import { beginning, ending } from "#lib/text";
import { reads, type Tool } from "../../tool.ts";
import { object } from "../shared/index.ts";
import { openApt, type PackageWorld, packageName, parseRecords } from "./apt.ts";

const packagesMax = 5_000;
const searchMax = 500;
const historyMax = 200;
/** The end of apt's history that is read, bytes. */
const historyMaxBytes = 1024 * 1024;
const textLengthMax = 4_000;

const facts = {
  timeoutMs: 60_000,
  capabilities: ["pkg:read"],
} as const;

export function packageReads(world: PackageWorld): readonly Tool[] {
  const apt = openApt(world);

  const search = reads({
    ...facts,
    name: "pkg.search",
    summary: "Finds packages of the archive by words in their names and summaries, all of which must occur.",
    input: object({
      query: Type.String({ minLength: 1, maxLength: 200, description: "words" }),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: searchMax })),
    }),
    output: object({
      packages: Type.Array(object({ name: Type.String(), summary: Type.String() })),
      total: Type.Integer({ description: "of those found, also beyond the limit" }),
    }),
    run: async ({ input: { query, limit = 50 }, signal }) => {
      const words = query.split(/\s+/).filter((word) => word !== "");
      if (words.length === 0) return { packages: [], total: 0 };
      // apt takes expressions; these are words.
      const literal = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      const found = await apt.run(["apt-cache", "search", "--", ...literal], { signal });
      const packages = found.split("\n").flatMap((line) => {
        const [, name, summary] = /^(\S+) - (.*)$/.exec(line) ?? [];
        return name === undefined || summary === undefined ? [] : [{ name, summary }];
      });
      return { packages: packages.slice(0, limit), total: packages.length };
    },
  });

  const info = reads({
    ...facts,
    name: "pkg.info",
    summary: "Tells what a package is: its versions, summary, description, size and dependencies.",
    input: object({ name: packageName }),
    output: object({
      name: Type.String(),
      installed: Type.Optional(Type.String({ description: "the installed version" })),
      candidate: Type.Optional(Type.String({ description: "the version that would be installed" })),
      locked: Type.Boolean(),
      section: Type.String(),
      summary: Type.String(),
      description: Type.String(),
      homepage: Type.String(),
      depends: Type.String(),
      installed_kib: Type.Integer({ description: "its size when installed, KiB" }),
    }),
    run: async ({ input: { name }, signal }) => {
      const now = await apt.installed(name, { signal });
      const candidate = await apt.candidate(name, { signal }).catch((error: unknown) => {
        if (now !== undefined && error instanceof AiosError) return undefined;
        throw error;
      });
      const text = await apt.run(["apt-cache", "show", "--no-all-versions", "--", name], { signal });
      const field = (key: string) => beginning(parseRecords(text)[0]?.get(key) ?? "", textLengthMax);
      const [summary = "", ...description] = (field("Description-en") || field("Description")).split("\n");
      return {
        name,
        ...(now !== undefined && { installed: now.version }),
        ...(candidate !== undefined && { candidate }),
        locked: now?.locked ?? false,
        section: field("Section"),
        summary,
        description: description.map((line) => (line === "." ? "" : line)).join("\n"),
        homepage: field("Homepage"),
        depends: field("Depends"),
        installed_kib: Number(field("Installed-Size") || 0),
      };
    },
  });

  const list = reads({
    ...facts,
    name: "pkg.list",
    summary: "Lists the installed packages with their versions, at most 5,000, or those whose names fit a pattern.",
    input: object({
      pattern: Type.Optional(
        Type.String({ pattern: "^[a-z0-9*?+.-]{1,128}$", description: 'a name, with "*" and "?" for others' }),
      ),
    }),
    output: object({
      packages: Type.Array(
        object({
          name: Type.String(),
          version: Type.String(),
          architecture: Type.String(),
          locked: Type.Boolean(),
          source: Type.String({ description: "the source package that it was built from" }),
        }),
      ),
    }),
    run: async ({ input: { pattern = "*" }, signal }) => {
      const installed = await installedPackages(world, signal);
      const packages = installed.filter(({ name }) => globMatches(pattern, name)).slice(0, packagesMax);
      return { packages: packages.map(({ sourceVersion: _, ...one }) => one) };
    },
  });

  return [search, info, list, historyOf(world)];
}

function historyOf(world: PackageWorld): Tool {
  return reads({
    ...facts,
    name: "pkg.history",
    summary: "Tells what was installed, upgraded and removed, the latest first.",
    input: object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: historyMax })) }),
    output: object({
      entries: Type.Array(
        object({
          started: Type.String({ description: "date and time of the machine's clock" }),
          command: Type.String(),
          installed: Type.Array(Type.String()),
          upgraded: Type.Array(Type.String()),
          removed: Type.Array(Type.String()),
          error: Type.String(),
        }),
      ),
    }),
    run: async ({ input: { limit = 50 } }) => {
      const text = await lastOf(`${world.root}/var/log/apt/history.log`);
      return { entries: parseRecords(text).toReversed().slice(0, limit).map(entryOf) };
    },
  });
}

export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly locked: boolean;
  readonly source: string;
  readonly sourceVersion: string;
}

/** The packages that dpkg has installed, by name. */
export async function installedPackages(world: PackageWorld, signal: AbortSignal): Promise<InstalledPackage[]> {
  const placeholders = ["db:Status-Status", "db:Status-Want", "binary:Package", "Version", "Architecture"];
  const format = [...placeholders, "source:Package", "source:Version"].map((name) => `\${${name}}`).join(" ");
  const options = { signal, stdoutMaxBytes: 4 * 1024 * 1024 };
  const text = await openApt(world).run(["dpkg-query", "--show", `--showformat=${format}\\n`], options);
  return text.split("\n").flatMap((line) => {
    const [status, want, name = "", version = "", architecture = "", source = "", sourceVersion = ""] = line.split(" ");
    if (status !== "installed") return [];
    return [{ name: name.replace(/:.*$/, ""), version, architecture, locked: want === "hold", source, sourceVersion }];
  });
}

/** The end of a file, from the beginning of a record; "" when there is none. */
async function lastOf(path: string): Promise<string> {
  try {
    const text = await readFile(path, "utf8");
    if (text.length <= historyMaxBytes) return text;
    const end = ending(text, historyMaxBytes);
    return end.slice(end.indexOf("\n\n"));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}

function entryOf(record: ReadonlyMap<string, string>) {
  /** "web:amd64 (1.0, automatic), lib:all (1.0, 2.0)" as ["web 1.0", "lib 1.0 → 2.0"]. */
  const packages = (...fields: string[]) =>
    fields.flatMap((field) =>
      [...(record.get(field) ?? "").matchAll(/(\S+?)(?::\S+)? \(([^)]*)\)/g)].map(([, name, versions = ""]) => {
        const between = versions.split(", ").filter((word) => word !== "automatic");
        return `${name} ${between.join(" → ")}`;
      }),
    );
  return {
    started: record.get("Start-Date") ?? "",
    command: beginning(record.get("Commandline") ?? "", textLengthMax),
    installed: packages("Install", "Reinstall"),
    upgraded: packages("Upgrade", "Downgrade"),
    removed: packages("Remove", "Purge"),
    error: beginning(record.get("Error") ?? "", textLengthMax),
  };
}
