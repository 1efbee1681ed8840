import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import * as Type from "typebox";
import { errnoOf } from "#lib/errors";
import { reads, type Tool } from "../../tool.ts";
import { object } from "../shared/index.ts";
import { openApt, type PackageWorld } from "./apt.ts";
import { type InstalledPackage, installedPackages } from "./reads.ts";
import { compareVersions } from "./version.ts";

/** The largest file of Debian's security tracker that is read, bytes; it is some 60 MiB. */
const trackerMaxBytes = 160 * 1024 * 1024;

const findingsMax = 2_000;

interface Finding {
  readonly package: string;
  readonly installed: string;
  readonly fixed_in?: string;
  readonly vulnerability: string;
  readonly urgency: string;
  readonly by: "archive" | "tracker";
}

/** `tracker` is the path of Debian's security tracker's data (its "json" file), for those who put it there. */
export function vulnerabilityTool(world: PackageWorld, tracker: string): Tool {
  return reads({
    name: "pkg.check_vuln",
    summary:
      "Compares the installed packages with Debian's security data: updates of its security archive that wait, and, where the security tracker's data is on the machine, every known vulnerability.",
    input: object({}),
    output: object({
      findings: Type.Array(
        object({
          package: Type.String(),
          installed: Type.String(),
          fixed_in: Type.Optional(Type.String({ description: "absent when there is no fix yet" })),
          vulnerability: Type.String({ description: 'its name, or "security update"' }),
          urgency: Type.String(),
          by: Type.Enum(["archive", "tracker"]),
        }),
      ),
      checked: Type.Integer({ description: "installed packages" }),
      data: Type.Array(Type.String(), { description: "the data that was there to compare with, and what was missing" }),
      truncated: Type.Boolean(),
    }),
    capabilities: ["pkg:read"],
    timeoutMs: 120_000,
    run: async ({ signal }) => {
      const installed = await installedPackages(world, signal);
      const release = await codename(world);
      const waiting = await waitingUpdates(world, signal);
      const known = await trackedIn(tracker, installed, release, signal);
      const findings = [...waiting, ...known.findings];
      return {
        findings: findings.slice(0, findingsMax),
        checked: installed.length,
        data: ["the archive's lists, as of the last pkg.update", known.data],
        truncated: findings.length > findingsMax,
      };
    },
  });
}

/** Upgrades that would come from the security archive. */
async function waitingUpdates(world: PackageWorld, signal: AbortSignal): Promise<Finding[]> {
  const changes = await openApt(world).simulate("upgrade", ["--ignore-hold"], { signal });
  return changes.flatMap(({ name, from, to, origin }) =>
    from === undefined || to === undefined || !/security/i.test(origin ?? "")
      ? []
      : [
          {
            package: name,
            installed: from,
            fixed_in: to,
            vulnerability: "security update",
            urgency: "",
            by: "archive",
          },
        ],
  );
}

async function codename({ root }: PackageWorld): Promise<string> {
  const text = await readFile(`${root}/etc/os-release`, "utf8").catch(() => "");
  return /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(text)?.[1] ?? "";
}

interface Tracked {
  readonly releases?: Readonly<
    Record<string, { readonly status?: string; readonly fixed_version?: string; readonly urgency?: string } | undefined>
  >;
}

async function trackedIn(
  path: string,
  installed: readonly InstalledPackage[],
  release: string,
  signal: AbortSignal,
): Promise<{ findings: Finding[]; data: string }> {
  const size = await sizeOf(path);
  if (size === undefined) return { findings: [], data: `no data of the security tracker in ${path}` };
  if (size > trackerMaxBytes)
    return { findings: [], data: `${path} is larger than ${trackerMaxBytes} bytes: not read` };
  const bySource = Map.groupBy(installed, ({ source }) => source);
  const findings: Finding[] = [];
  for await (const [source, text] of members(createReadStream(path, { encoding: "utf8", highWaterMark: 1 << 20 }))) {
    signal.throwIfAborted();
    const packages = bySource.get(source);
    if (packages === undefined) continue;
    for (const [vulnerability, entry] of Object.entries(JSON.parse(text) as Record<string, Tracked>)) {
      const found = entry.releases?.[release];
      if (found !== undefined) findings.push(...affected(packages, vulnerability, found));
    }
  }
  return { findings, data: `the security tracker's data in ${path}` };
}

function affected(
  packages: readonly InstalledPackage[],
  vulnerability: string,
  { status, fixed_version: fixed, urgency = "" }: { status?: string; fixed_version?: string; urgency?: string },
): Finding[] {
  return packages.flatMap(({ name, version, sourceVersion }) => {
    const finding = { package: name, installed: version, vulnerability, urgency, by: "tracker" } as const;
    if (status === "open") return [finding];
    // "0": this release never had it.
    if (status !== "resolved" || fixed === undefined || fixed === "0") return [];
    return compareVersions(sourceVersion, fixed) < 0 ? [{ ...finding, fixed_in: fixed }] : [];
  });
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * The members of one large JSON object whose values are objects, as [key, the value's text]: never more than one of them
 * is in memory, and the event loop gets its turn between the chunks.
 */
export async function* members(chunks: AsyncIterable<string>): AsyncGenerator<[key: string, value: string]> {
  /** What was read since the last member's end. */
  let text = "";
  let at = 0;
  let depth = 0;
  let quoted = false;
  let begin = 0;
  for await (const chunk of chunks) {
    text += chunk;
    for (; at < text.length; at += 1) {
      const character = text[at];
      if (character === "\\" && quoted) {
        // What follows is no end of the string. It may be in the next chunk: looked at as a part of this one.
        if (at + 1 === text.length) break;
        at += 1;
      } else if (character === '"') quoted = !quoted;
      else if (quoted) continue;
      else if (character === "{") {
        depth += 1;
        if (depth === 2) begin = at;
      } else if (character === "}") {
        depth -= 1;
        if (depth !== 1) continue;
        const key = /"((?:[^"\\]|\\.)*)"\s*:\s*$/.exec(text.slice(0, begin))?.[1];
        if (key !== undefined) yield [JSON.parse(`"${key}"`) as string, text.slice(begin, at + 1)];
        text = text.slice(at + 1);
        at = -1;
      }
    }
  }
}
