import { createHash } from "node:crypto";
import { lstat, opendir, readlink } from "node:fs/promises";
import { join } from "node:path";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { entriesOf, hold, openHeld, resolvePath } from "../../files/index.ts";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes } from "../../tool.ts";
import { absolutePath, named, object, timestamp } from "../shared/index.ts";

/** Entries of one baseline at most, and bytes that are read for it. */
const entriesMax = 20_000;
const bytesMax = 8 * 2 ** 30;

/** Names of each kind of difference that are told at most. */
const toldMax = 500;

/** Entries by their path below the folder: kind, ownership and content in one line, compared as a whole. */
type Entries = Readonly<Record<string, string>>;

interface Baseline {
  readonly executionId: string;
  readonly at: number;
  readonly entries: Entries;
}

/** The baseline of a path, and the one before: a baseline that was taken by mistake is taken back. */
type Kept = Baseline & { readonly before?: Baseline | undefined };

const names = Type.Array(Type.String());

export const integrityTool = (state: State, clock: Clock) => {
  const baselines: Documents<Kept> = openDocuments(state, "integrity");
  return changes({
    name: "sec.file_integrity",
    summary:
      "Takes a baseline of a file or a folder's files (SHA-256, mode, owner; at most 20,000), or checks against the last one.",
    input: object({ mode: Type.Enum(["baseline", "check"]), path: absolutePath }),
    output: object({
      checked: Type.Integer({ description: "files, folders and links that were looked at" }),
      modified: names,
      new_files: names,
      missing_files: names,
      differences: Type.Integer({ description: "also those not listed" }),
      baseline_at: timestamp,
    }),
    // The path is looked at and not touched; what changes is our own record of it.
    capabilities: ["sec:integrity"],
    exclusive: "integrity",
    undo: {
      prepare: async ({ input }) => ({ path: (await resolvePath(input.path)).path, mode: input.mode }),
      restore: async ({ path, mode }, { executionId }) => {
        const kept = baselines.get(path);
        if (mode === "check" || kept === undefined || kept.executionId !== executionId) return;
        if (kept.before === undefined) await baselines.remove(path);
        else await baselines.put(path, kept.before);
      },
    },
    risk: "low",
    timeoutMs: 300_000,
    idempotent: true,
    run: async ({ executionId, input, signal }) => {
      const { path } = await resolvePath(input.path);
      const kept = baselines.get(path);
      if (input.mode === "check" && kept === undefined) throw withoutBaseline(path);
      const entries = await named("look at", path, () => readEntries(path, signal));
      const checked = Object.keys(entries).length;
      if (input.mode === "check" && kept !== undefined)
        return { checked, ...difference(kept.entries, entries), baseline_at: kept.at };
      const at = clock.now();
      const before = kept && { executionId: kept.executionId, at: kept.at, entries: kept.entries };
      await baselines.put(path, { executionId, at, entries, before });
      return { checked, modified: [], new_files: [], missing_files: [], differences: 0, baseline_at: at };
    },
  });
};

function difference(before: Entries, now: Entries) {
  const modified = Object.keys(now).filter((name) => before[name] !== undefined && before[name] !== now[name]);
  const added = Object.keys(now).filter((name) => before[name] === undefined);
  const missing = Object.keys(before).filter((name) => now[name] === undefined);
  return {
    modified: modified.slice(0, toldMax),
    new_files: added.slice(0, toldMax),
    missing_files: missing.slice(0, toldMax),
    differences: modified.length + added.length + missing.length,
  };
}

/** The entries at and below a path, on its own file system. Follows no link. */
async function readEntries(path: string, signal: AbortSignal): Promise<Entries> {
  const entries: Record<string, string> = Object.create(null);
  const { dev } = await lstat(path);
  const folders = [""];
  const room = { entries: entriesMax, bytes: bytesMax };
  const add = async (name: string) => {
    signal.throwIfAborted();
    const entry = await readEntry(join(path, name), room, signal).catch(unlessGone);
    if (entry === undefined) return;
    room.entries -= 1;
    if (room.entries < 0) throw tooMuch(path, `it has more than ${entriesMax} entries`);
    entries[name === "" ? "." : name] = entry.line;
    if (entry.folder && entry.dev === dev && name !== "") folders.push(name);
  };
  await add("");
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    for (const name of await namesBelow(join(path, folder))) await add(join(folder, name));
  return entries;
}

async function namesBelow(folder: string): Promise<string[]> {
  if (!(await lstat(folder)).isDirectory()) return [];
  const held = await hold(folder);
  try {
    const found: string[] = [];
    for await (const { name } of await opendir(entriesOf(held))) found.push(name);
    return found.sort();
  } finally {
    await held.close();
  }
}

async function readEntry(path: string, room: { bytes: number }, signal: AbortSignal) {
  const { mode, uid, gid, dev, ...found } = await lstat(path).then((stats) => ({
    mode: (stats.mode & 0o7777).toString(8),
    uid: stats.uid,
    gid: stats.gid,
    dev: stats.dev,
    link: stats.isSymbolicLink(),
    file: stats.isFile(),
    folder: stats.isDirectory(),
    size: stats.size,
  }));
  const line = (content: string) => `${mode} ${uid}:${gid} ${content}`;
  if (found.link) return { line: line(`link ${await readlink(path)}`), folder: false, dev };
  if (!found.file) return { line: line(found.folder ? "folder" : "other"), folder: found.folder, dev };
  room.bytes -= found.size;
  if (room.bytes < 0) throw tooMuch(path, `there are more than ${bytesMax} bytes up to here`);
  return { line: line(`file ${found.size} ${await sha256(path, signal)}`), folder: false, dev };
}

async function sha256(path: string, signal: AbortSignal): Promise<string> {
  const held = await hold(path);
  try {
    await using file = await openHeld(held);
    const sum = createHash("sha256");
    for await (const chunk of file.createReadStream({ autoClose: false, signal })) sum.update(chunk as Buffer);
    return sum.digest("hex");
  } finally {
    await held.close();
  }
}

/** An entry that went away while it was looked at is not there. */
function unlessGone(error: unknown): undefined {
  if (errnoOf(error) !== "ENOENT") throw error;
}

function tooMuch(object: string, reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "look at",
    object,
    reason,
    next: "take baselines of folders below",
  });
}

function withoutBaseline(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "check",
    object: path,
    reason: "there is no baseline of it",
    next: "take one first, with mode baseline",
  });
}
