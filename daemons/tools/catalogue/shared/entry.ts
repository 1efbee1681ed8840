import type { Stats } from "node:fs";
import { lstat, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { AiosError, errnoOf } from "#lib/errors";
import { entriesOf, type Held, hold, mountAt, mountsBelow } from "../../files/index.ts";
import { succeed } from "./program.ts";

/** A name in a folder that is held, with what stands there. A symbolic link stands for itself. */
export interface Entry {
  /** The resolved path: for messages. */
  readonly path: string;
  readonly folder: Held;
  readonly name: string;
  /** Undefined when nothing stands there. */
  readonly found: Stats | undefined;
  /** A path to it that leads through the held folder, in this process. */
  readonly place: string;
  close(): Promise<void>;
}

/** Looks at `path`, resolved but for its last name, in its folder. Throws ENOENT when the folder does not exist. */
async function entryAt(path: string): Promise<Entry> {
  const folder = await hold(dirname(path));
  try {
    const name = basename(path);
    const place = `${entriesOf(folder)}/${name}`;
    return { path, folder, name, found: await lookAt(place), place, close: () => folder.close() };
  } catch (error) {
    await folder.close();
    throw error;
  }
}

/** As {@link entryAt}, and gives it back when `work` is done. */
export async function withEntry<T>(path: string, work: (entry: Entry) => Promise<T>): Promise<T> {
  const entry = await entryAt(path);
  try {
    return await work(entry);
  } finally {
    await entry.close();
  }
}

/** Looks at an entry's place anew; undefined when nothing stands there. */
export async function lookAt(place: string): Promise<Stats | undefined> {
  try {
    return await lstat(place);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** A held folder's path for a program that this process runs. */
export function placeFor({ handle }: Held): string {
  return `/proc/${process.pid}/fd/${handle.fd}`;
}

/** Another name in the same folder, known from the execution so that it can be cleared away after a crash. */
export function temporaryOf({ folder, path }: Entry, executionId: string): Entry {
  const name = `.aios-${executionId}`;
  const place = `${entriesOf(folder)}/${name}`;
  return { path: `${dirname(path)}/${name}`, folder, name, found: undefined, place, close: async () => {} };
}

/**
 * Removes an entry with all that lies in it; nothing when there is none. Throws FAILED_PRECONDITION, and has removed nothing,
 * when something is mounted in it.
 */
export async function removeEntry({ path, folder, name, place }: Entry, signal: AbortSignal): Promise<void> {
  const found = await lookAt(place);
  if (found === undefined) return;
  if (!found.isDirectory()) return unlink(place);
  if (mountAt(path) !== undefined) throw mountedThere("remove", path);
  checkNothingMounted(path);
  // rm(1) goes down by openat(2): a folder that is swapped for a link while it works leads nowhere.
  await succeed(["rm", "-rf", "--one-file-system", "--", `./${name}`], {
    signal,
    cwd: placeFor(folder),
    act: "remove",
  });
}

/** Copies an entry as it is to a name where nothing stands: owners, modes, times and links are kept. */
export async function copyEntry(from: Entry, to: Entry, signal: AbortSignal): Promise<void> {
  const target = `${placeFor(to.folder)}/${to.name}`;
  const argv = ["cp", "-a", "--no-target-directory", "--", `./${from.name}`, target] as const;
  await succeed(argv, { signal, cwd: placeFor(from.folder), timeoutMs: 600_000, act: "copy" });
}

/**
 * Throws FAILED_PRECONDITION when something is mounted below `path`. The kernel's list tells: what is bound there from
 * the same file system bears its device's number, and by that alone its own content would be taken for what lies here.
 */
export function checkNothingMounted(path: string): void {
  const [mounted] = mountsBelow(path);
  if (mounted === undefined) return;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "go through",
    object: path,
    reason: `${mounted.source} is mounted at ${mounted.path}`,
    next: "unmount it first",
  });
}

/** Its content would go, and the folder could not. */
export const mountedThere = (act: string, path: string) =>
  refused(act, path, "a file system is mounted there", "unmount it first, or go by what lies in it");

export function changedSince(act: string, path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act,
    object: path,
    reason: "it was changed again since",
    next: "roll back the later change first",
  });
}

export function refused(act: string, path: string, reason: string, next?: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act, object: path, reason, ...(next !== undefined && { next }) });
}
