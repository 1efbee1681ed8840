import { constants, readlinkSync, type Stats } from "node:fs";
import { type FileHandle, lstat, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { AiosError, errnoOf } from "#lib/errors";

/**
 * Files and folders held by descriptor, so that what was checked is what is acted on: Node has no openat(2), but a name
 * looked up below /proc/self/fd/N is looked up in the folder that N holds, wherever a swapped link would lead.
 */
const viaDescriptor = (handle: FileHandle) => `/proc/self/fd/${handle.fd}`;

/** Linux's O_PATH, which Node does not name: holds a file without opening it, so that looking at a device does nothing to it. */
export const oPath = 0o10000000;

/** A file or folder that is held: it stays the same one, whatever happens to its path. */
export interface Held {
  readonly path: string;
  readonly handle: FileHandle;
  readonly found: Stats;
  close(): Promise<void>;
}

/** Holds what is at `path`, a resolved path, without opening it. Throws ABORTED when a link was put in its way since. */
export async function hold(path: string): Promise<Held> {
  const handle = await open(path, oPath | constants.O_NOFOLLOW);
  try {
    // Of the kernel's own memory, so it does not wait for a disk.
    const held = readlinkSync(viaDescriptor(handle));
    const found = await handle.stat();
    if (held !== path || found.isSymbolicLink()) throw moved(path, held);
    return { path, handle, found, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Holds the folder `name` in a folder that is held. */
async function holdIn(folder: FileHandle, name: string): Promise<FileHandle> {
  const flags = oPath | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  return open(`${viaDescriptor(folder)}/${name}`, flags);
}

/** The path under which the kernel finds a held folder's entries. */
export function entriesOf({ handle }: Held): string {
  return viaDescriptor(handle);
}

/** The content of a held regular file. Throws FAILED_PRECONDITION when it is none or holds more than `bytesMax`. */
export async function readHeld(held: Held, bytesMax: number): Promise<Buffer> {
  const { path, found } = held;
  if (found.size > bytesMax) throw tooLarge(path, `${found.size} bytes`, bytesMax);
  const file = await openHeld(held);
  try {
    // Files of /proc say 0 and hold more: read until the end or one byte too many.
    const chunks: Buffer[] = [];
    let total = 0;
    for (let next = found.size + 1; total <= bytesMax; next = 65_536) {
      const chunk = Buffer.allocUnsafe(Math.min(next, bytesMax + 1 - total));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      chunks.push(chunk.subarray(0, bytesRead));
      total += bytesRead;
      if (bytesRead === 0 || total === found.size) return Buffer.concat(chunks);
    }
    throw tooLarge(path, `more than ${bytesMax} bytes`, bytesMax);
  } finally {
    await file.close();
  }
}

/** Opens a held regular file for reading. Without blocking: a pipe put in its place must not stop the daemon. */
export async function openHeld({ path, handle, found }: Held): Promise<FileHandle> {
  if (!found.isFile()) {
    throw new AiosError("FAILED_PRECONDITION", { act: "open", object: path, reason: "it is not a regular file" });
  }
  return open(viaDescriptor(handle), constants.O_RDONLY | constants.O_NONBLOCK);
}

/**
 * Holds the folder below `from` that `names` lead to, making those that are missing (0755).
 * When one cannot be made, those made before it are removed again.
 */
export async function makeFolders(from: string, names: readonly string[]): Promise<FileHandle> {
  let folder = (await hold(from)).handle;
  const made: string[] = [];
  for (const name of names) {
    const outer = folder;
    try {
      if (await makeFolder(outer, name)) made.push(name);
      folder = await holdIn(outer, name);
    } catch (error) {
      await removeFolders(from, made);
      throw error;
    } finally {
      await outer.close();
    }
  }
  return folder;
}

async function makeFolder(outer: FileHandle, name: string): Promise<boolean> {
  try {
    await mkdir(`${viaDescriptor(outer)}/${name}`, 0o755);
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
  await syncHeld(outer);
  const handle = await holdIn(outer, name);
  try {
    const folder = await open(viaDescriptor(handle), constants.O_RDONLY | constants.O_DIRECTORY);
    // The daemon's umask would take away what others may read.
    await folder.chmod(0o755);
    await folder.close();
  } finally {
    await handle.close();
  }
  return true;
}

/** Removes the folders `names` below `from`, the deepest first, as far as they are empty. */
export async function removeFolders(from: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const [name = "", ...deeper] = names;
  const { handle: outer } = await hold(from);
  try {
    await removeFolders(`${from === "/" ? "" : from}/${name}`, deeper);
    await rmdir(`${viaDescriptor(outer)}/${name}`);
    await syncHeld(outer);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(errnoOf(error) ?? "")) throw error;
  } finally {
    await outer.close();
  }
}

export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** When it was changed last, whole milliseconds since the epoch: of a file that is put back. */
  readonly modifiedMs?: number;
}

/** The time of a file as it is kept, and compared: whole milliseconds, which can be set again exactly. */
export const modifiedMsOf = ({ mtimeMs }: { readonly mtimeMs: number }): number => Math.round(mtimeMs);

/** Sets the time at which a file was changed last. */
export const setModified = (file: FileHandle, modifiedMs: number): Promise<void> =>
  file.utimes(modifiedMs / 1000, modifiedMs / 1000);

/** What stands at `name` in a held folder: nothing, or its kind and ownership. Follows no link. */
export async function standing(
  folder: FileHandle,
  name: string,
): Promise<(Ownership & { isFile: boolean }) | undefined> {
  try {
    const found = await lstat(`${viaDescriptor(folder)}/${name}`);
    return { isFile: found.isFile(), mode: found.mode & 0o7777, uid: found.uid, gid: found.gid };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Puts a file at `name` in a held folder, whole or not at all: written beside it as `temporary`, made durable, then renamed.
 * A link at `name` is replaced, never followed.
 */
export async function putFile(
  folder: FileHandle,
  name: string,
  temporary: string,
  content: Uint8Array | FileHandle,
  ownership: Ownership,
): Promise<void> {
  const path = `${viaDescriptor(folder)}/${temporary}`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600);
  try {
    await fill(file, content);
    if (ownership.uid !== process.geteuid?.() || ownership.gid !== process.getegid?.()) {
      await file.chown(ownership.uid, ownership.gid);
    }
    // After chown, which clears the set-user bits.
    await file.chmod(ownership.mode);
    if (ownership.modifiedMs !== undefined) await setModified(file, ownership.modifiedMs);
    await file.sync();
    await rename(path, `${viaDescriptor(folder)}/${name}`);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await syncHeld(folder);
}

async function fill(file: FileHandle, content: Uint8Array | FileHandle): Promise<void> {
  if (content instanceof Uint8Array) return file.writeFile(content);
  const chunk = Buffer.allocUnsafe(262_144);
  for (let at = 0; ; ) {
    const { bytesRead } = await content.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) return;
    await file.writeFile(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Removes the file `name` from a held folder, durably; nothing when there is none. */
export async function removeFile(folder: FileHandle, name: string): Promise<void> {
  await rm(`${viaDescriptor(folder)}/${name}`, { force: true });
  await syncHeld(folder);
}

async function syncHeld(folder: FileHandle): Promise<void> {
  const opened = await open(viaDescriptor(folder), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

function moved(path: string, held: string): AiosError {
  return new AiosError("ABORTED", {
    act: "open",
    object: path,
    reason: `it was replaced between the check and the act (now ${held})`,
    next: "try again",
  });
}

function tooLarge(path: string, size: string, bytesMax: number): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "read",
    object: path,
    reason: `${size}, and at most ${bytesMax} are read at once`,
  });
}
