import { constants } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { basename } from "node:path";
import * as Type from "typebox";
import { globMatches } from "#lib/capability";
import { beginning } from "#lib/text";
import type { Protection } from "../../access/index.ts";
import { reads } from "../../tool.ts";
import {
  absolutePath,
  type Entry,
  eachOnce,
  named,
  object,
  refused,
  takenBytes,
  type Visited,
  walk,
  withEntry,
} from "../shared/index.ts";

/** Entries that a search looks at, and matches that it tells, at most. */
const entriesMax = 200_000;
const matchesMax = 1_000;

/** Files larger than this are not searched for content, bytes. */
const contentMaxBytes = 4 * 1024 * 1024;

/** Lines that are told of one file, and characters of one line. */
const linesMax = 20;
const lineLengthMax = 300;

/** Folders below a measured one that are told, the largest first. */
const largestMax = 20;

const match = object({
  path: Type.String(),
  type: Type.Enum(["file", "directory", "symlink", "other"]),
  size: Type.Integer({ description: "bytes" }),
  lines: Type.Optional(Type.Array(object({ line: Type.Integer(), text: Type.String() }))),
});

/** Finds by name and content. What is reserved is passed over: whoever may search a folder may not read that. */
export const searchTool = (protection: Protection) =>
  reads({
    name: "fs.search",
    summary:
      "Finds what lies below a folder by name (a glob such as *.conf) and, in text files up to 4 MiB, by a text they hold.",
    input: object({
      directory: absolutePath,
      pattern: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: "a glob for the name" })),
      content: Type.Optional(Type.String({ minLength: 1, maxLength: 1000, description: "a text in one line" })),
      max_depth: Type.Optional(Type.Integer({ minimum: 1, maximum: 64 })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: matchesMax, description: "100 unless given" })),
    }),
    output: object({
      matches: Type.Array(match),
      truncated: Type.Boolean({ description: "there are more than were asked for" }),
    }),
    resources: { directory: "path" },
    capabilities: ["fs:search:{directory}"],
    timeoutMs: 30_000,
    run: ({ caller, input, resources: { directory }, signal }) =>
      named("search", directory.path, () =>
        withEntry(directory.path, async (top) => {
          checkFolder(top);
          const open = (path: string) => allows(() => protection.check(pathBelow(top, path), "read", caller));
          const going = { depthMax: input.max_depth ?? 64, entriesMax, signal, enter: open };
          const most = input.limit ?? 100;
          const matches: object[] = [];
          for await (const one of walk(top, going)) {
            if (!open(one.path)) continue;
            const path = pathBelow(top, one.path);
            // Another name of a file that is protected.
            const closed = () =>
              protection.checkFile(path, "read", caller).then(
                () => false,
                () => true,
              );
            if (one.found.nlink > 1 && input.content !== undefined && (await closed())) continue;
            const found = await matchOf(one, input.pattern ?? "*", input.content);
            if (found === undefined) continue;
            if (matches.length === most) return { matches, truncated: true } as never;
            matches.push({ ...found, path });
          }
          return { matches, truncated: false } as never;
        }),
      ),
  });

async function matchOf(one: Visited, pattern: string, content: string | undefined) {
  if (!globMatches(pattern, basename(one.path))) return undefined;
  const { found } = one;
  const type = found.isFile()
    ? "file"
    : found.isDirectory()
      ? "directory"
      : found.isSymbolicLink()
        ? "symlink"
        : "other";
  const told = { type, size: found.size };
  if (content === undefined) return told;
  const lines = found.isFile() && found.size <= contentMaxBytes ? await linesWith(one, content) : [];
  return lines.length === 0 ? undefined : { ...told, lines };
}

async function linesWith({ place }: Visited, content: string) {
  const file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    () => undefined,
  );
  // It went away, or may not be read: no match.
  if (file === undefined) return [];
  try {
    if (!(await file.stat()).isFile()) return [];
    const buffer = Buffer.alloc(contentMaxBytes);
    const { bytesRead } = await file.read(buffer, 0, contentMaxBytes, 0);
    const bytes = buffer.subarray(0, bytesRead);
    if (bytes.includes(0) || !bytes.includes(content)) return [];
    return bytes
      .toString("utf8")
      .split("\n")
      .flatMap((text, at) =>
        text.includes(content) ? [{ line: at + 1, text: beginning(text, lineLengthMax).toWellFormed() }] : [],
      )
      .slice(0, linesMax);
  } finally {
    await file.close();
  }
}

export const diskUsage = reads({
  name: "fs.disk_usage",
  summary: "Tells how much what lies at a path takes up, its largest parts, and how full its file system is.",
  input: object({ path: absolutePath }),
  output: object({
    size_bytes: Type.Integer({ description: "of the files at the path and below, on its own file system" }),
    entries: Type.Integer(),
    largest: Type.Array(object({ name: Type.String(), bytes: Type.Integer() })),
    total_bytes: Type.Integer(),
    used_bytes: Type.Integer(),
    available_bytes: Type.Integer(),
    usage_percent: Type.Number(),
  }),
  resources: { path: "path" },
  capabilities: ["fs:read:{path}"],
  timeoutMs: 60_000,
  run: ({ resources: { path }, signal }) =>
    named("measure", path.path, () =>
      withEntry(path.path, async (top) => ({ ...(await sizes(top, signal)), ...(await fileSystem(path.path)) })),
    ),
});

async function sizes(top: Entry, signal: AbortSignal) {
  const { found } = top;
  if (found === undefined) throw refused("measure", top.path, "it does not exist");
  const parts = new Map<string, number>();
  const once = eachOnce();
  let bytes = once(found, takenBytes(found));
  let entries = 1;
  const going = {
    depthMax: Number.POSITIVE_INFINITY,
    entriesMax: 1_000_000,
    signal,
    enter: (_: string, { dev }: { dev: number }) => dev === found.dev,
  };
  if (found.isDirectory()) {
    for await (const one of walk(top, going)) {
      const name = one.path.split("/", 1)[0] ?? "";
      const taken = once(one.found, takenBytes(one.found));
      parts.set(name, (parts.get(name) ?? 0) + taken);
      bytes += taken;
      entries += 1;
    }
  }
  const largest = [...parts].map(([name, bytes]) => ({ name, bytes })).sort((a, b) => b.bytes - a.bytes);
  return { size_bytes: bytes, entries, largest: largest.slice(0, largestMax) };
}

async function fileSystem(path: string) {
  const { blocks, bfree, bavail, bsize } = await statfs(path);
  const used = blocks - bfree;
  const usable = used + bavail;
  return {
    total_bytes: blocks * bsize,
    used_bytes: used * bsize,
    available_bytes: bavail * bsize,
    usage_percent: usable === 0 ? 0 : Math.round((10_000 * used) / usable) / 100,
  };
}

const pathBelow = (top: Entry, path: string) => `${top.path === "/" ? "" : top.path}/${path}`;

function checkFolder({ path, found }: Entry): void {
  if (found === undefined) throw refused("search", path, "it does not exist");
  if (!found.isDirectory()) throw refused("search", path, "it is not a folder");
}

function allows(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
