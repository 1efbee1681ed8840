import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, opendir, readlink } from "node:fs/promises";
import { AiosError, errnoOf } from "#lib/errors";
import { modifiedMsOf, oPath } from "../../files/index.ts";
import { checkNothingMounted, type Entry } from "./entry.ts";

/** Something below a folder. */
export interface Visited {
  /** Below the folder, with slashes; bytes that are not UTF-8 are replaced. */
  readonly path: string;
  readonly found: Stats;
  /** A path to it through the folders that are held. Valid until the next one is asked for. */
  readonly place: Buffer;
}

interface Walk {
  /** Entries of the top folder are at depth 1. */
  readonly depthMax: number;
  readonly entriesMax: number;
  readonly signal: AbortSignal;
  /** Folders that are not entered; told of all the same. */
  readonly enter?: (path: string, found: Stats) => boolean;
}

/** Levels of folders at most: each is held open while what lies in it is visited. */
const depthLimit = 128;

/**
 * Everything below the folder at `top`, a folder before what lies in it, by name. Each folder is opened in the one that holds
 * it and never through a link, so that a swapped link leads nowhere. Throws FAILED_PRECONDITION beyond `entriesMax`.
 */
export async function* walk(top: Entry, options: Walk): AsyncGenerator<Visited> {
  const folder = await openFolder(Buffer.from(top.place));
  if (folder === undefined) return;
  yield* below(folder, "", 1, { ...options, top: top.path, seen: { entries: 0 } });
}

type Going = Walk & { readonly top: string; readonly seen: { entries: number } };

async function* below(folder: FileHandle, at: string, depth: number, going: Going): AsyncGenerator<Visited> {
  try {
    for (const name of await namesIn(folder, going)) {
      going.signal.throwIfAborted();
      const place = Buffer.concat([Buffer.from(`/proc/self/fd/${folder.fd}/`), name]);
      const found = await standing(place);
      if (found === undefined) continue;
      const path = `${at}${name.toString("utf8")}`;
      yield { path, found, place };
      const entered = found.isDirectory() && depth < going.depthMax && (going.enter?.(path, found) ?? true);
      if (!entered) continue;
      if (depth === depthLimit) throw tooMuch(going.top, `folders are nested deeper than ${depthLimit}`);
      const inner = await openFolder(place);
      if (inner !== undefined) yield* below(inner, `${path}/`, depth + 1, going);
    }
  } finally {
    await folder.close();
  }
}

/** A folder, not a link to one; undefined when it went away or was swapped since. */
async function openFolder(place: Buffer): Promise<FileHandle | undefined> {
  try {
    return await open(place, oPath | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

async function namesIn(folder: FileHandle, { seen, entriesMax, top }: Going): Promise<Buffer[]> {
  const names: Buffer[] = [];
  // As bytes: a name that is not UTF-8 must be found again.
  for await (const { name } of await opendir(`/proc/self/fd/${folder.fd}`, { encoding: "buffer" as BufferEncoding })) {
    seen.entries += 1;
    if (seen.entries > entriesMax) throw tooMuch(top, `more than ${entriesMax} entries lie in it`);
    names.push(name as unknown as Buffer);
  }
  return names.sort(Buffer.compare);
}

async function standing(place: Buffer): Promise<Stats | undefined> {
  try {
    return await lstat(place);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Adds up as du(1) does: what has several names counts under the first of them. */
export function eachOnce(): (found: Stats, bytes: number) => number {
  const seen = new Set<string>();
  return (found, bytes) => {
    if (found.nlink === 1 || found.isDirectory()) return bytes;
    const file = `${found.dev}:${found.ino}`;
    if (seen.has(file)) return 0;
    seen.add(file);
    return bytes;
  };
}

/** Bytes of a file system's blocks that something takes up. */
export const takenBytes = ({ blocks }: Stats): number => blocks * 512;

/** File systems keep content up to this size beside its name, in no block. */
const inlineMaxBytes = 4096;

/** How much content a file has: of a sparse one, without its holes. */
const contentBytes = (found: Stats): number =>
  found.size <= inlineMaxBytes ? found.size : Math.min(found.size, takenBytes(found));

/** The measures of what lies at an entry and below it. */
export interface Measure {
  /** Content of the files: each once, however many names it has, and without holes. */
  readonly bytes: number;
  readonly entries: number;
  /** SHA-256 over names, kinds, sizes, owners, modes, links and the times of files: equal for what nobody changed. */
  readonly fingerprint: string;
}

const entriesMax = 200_000;

/** Measures an entry. Throws FAILED_PRECONDITION when something is mounted in it. */
export async function measure(entry: Entry, signal: AbortSignal): Promise<Measure> {
  const { found } = entry;
  if (found === undefined) throw new AiosError("FAILED_PRECONDITION", `measure ${entry.path}: it does not exist`);
  checkNothingMounted(entry.path);
  const print = createHash("sha256");
  let bytes = 0;
  let entries = 0;
  const once = eachOnce();
  const add = async (path: string, one: Stats, place: Buffer) => {
    const target = one.isSymbolicLink() ? (await readlink(place, "buffer")).toString("hex") : "";
    const size = one.isFile() ? one.size : 0;
    const time = one.isFile() ? modifiedMsOf(one) : 0;
    print.update(JSON.stringify([path, one.mode, one.uid, one.gid, size, time, target]));
    if (one.isFile()) bytes += once(one, contentBytes(one));
    entries += 1;
  };
  await add("", found, Buffer.from(entry.place));
  if (found.isDirectory()) {
    const going = { depthMax: Number.POSITIVE_INFINITY, entriesMax, signal };
    for await (const one of walk(entry, going)) await add(one.path, one.found, one.place);
  }
  return { bytes, entries, fingerprint: print.digest("hex") };
}

function tooMuch(path: string, reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act: "go through", object: path, reason, next: "name a part of it" });
}
