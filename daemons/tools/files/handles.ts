import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  openSync,
  open as openWith,
  read,
  readlinkSync,
  rename,
  type Stats,
  write,
  writeSync,
} from "node:fs";
import { type FileHandle, link, mkdir, open, rm, rmdir, unlink } from "node:fs/promises";
import { promisify } from "node:util";
import { AiosError, errnoOf } from "#lib/errors";
import { type Attributes, attributesOf, keptAttributes, setAttributes } from "./attributes.ts";
import { readCached } from "./cached.ts";
import { FolderSyncs } from "./folder-sync.ts";
import { kernelsOwn, notContent } from "./kernels.ts";
import { reserveSpace } from "./space.ts";

/** A descriptor: a number, or a file handle of Node's. */
interface Descriptor {
  readonly fd: number;
}

/**
 * Files and folders held by descriptor, so that what was checked is what is acted on: Node has no openat(2), but a name
 * looked up below /proc/self/fd/N is looked up in the folder that N holds, wherever a swapped link would lead.
 *
 * The gate has walked a path, off the event loop, before it comes here. Looking its last name up again, holding it and letting
 * it go is done by the kernel from memory in some two microseconds and is asked for at once; a thread of the pool takes sixty.
 * What may wait for a disk (content, new names, syncing) goes to the pool.
 */
const viaDescriptor = ({ fd }: Descriptor) => `/proc/self/fd/${fd}`;

const readLater = promisify(read);
const syncLater = promisify(fsync);
const openLater = promisify(openWith) as (path: string, flags: number, mode: number) => Promise<number>;
const writeLater = promisify(write);
const renameLater = promisify(rename);

/** Content up to this size is written at once: into memory, which takes less time than to ask for it. */
const atOnceMaxBytes = 65_536;

/** Linux's O_PATH, which Node does not name: holds a file without opening it, so that looking at a device does nothing to it. */
export const oPath = 0o10000000;

/** A file or folder that is held: it stays the same one, whatever happens to its path. */
export interface Held {
  readonly path: string;
  readonly handle: Descriptor;
  readonly found: Stats;
  close(): Promise<void>;
}

/** Holds what is at `path`, a resolved path, without opening it. Throws ABORTED when a link was put in its way since. */
export async function hold(path: string): Promise<Held> {
  const fd = openSync(path, oPath | constants.O_NOFOLLOW);
  try {
    const held = readlinkSync(viaDescriptor({ fd }));
    const found = fstatSync(fd);
    if (held !== path || found.isSymbolicLink()) throw moved(path, held);
    return { path, handle: { fd }, found, close: async () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** As {@link hold}, for what is changed. Throws FAILED_PRECONDITION when it is the kernel's and no content. */
export async function holdForChange(path: string): Promise<Held> {
  const held = await hold(path);
  const type = kernelsOwn(viaDescriptor(held.handle), held.found);
  if (type === undefined) return held;
  await held.close();
  throw notContent("change", path, type);
}

/** Holds the folder `name` in a folder that is held. */
function holdIn(folder: Descriptor, name: string): Folder {
  const flags = oPath | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  return folderOf(openSync(`${viaDescriptor(folder)}/${name}`, flags));
}

/** A folder that is held. */
interface Folder extends Descriptor {
  close(): void;
}

const folderOf = (fd: number): Folder => ({ fd, close: () => closeSync(fd) });

/** The path under which the kernel finds a held folder's entries. */
export function entriesOf({ handle }: Held): string {
  return viaDescriptor(handle);
}

/** The content of a held regular file. Throws FAILED_PRECONDITION when it is none or holds more than `bytesMax`. */
export async function readHeld(held: Held, bytesMax: number): Promise<Buffer> {
  const { path, found } = held;
  if (found.size > bytesMax) throw tooLarge(path, `${found.size} bytes`, bytesMax);
  const fd = openFile(held);
  try {
    const cached = readCached(fd, found.size);
    if (cached !== undefined) return cached;
    // Files of /proc say 0 and hold more: read until the end or one byte too many. The first read is a large one, since a
    // number of /proc/sys is told once: what is read after its first digit is the end.
    const chunks: Buffer[] = [];
    let total = 0;
    for (let next = found.size === 0 ? 65_536 : found.size + 1; total <= bytesMax; next = 65_536) {
      const chunk = Buffer.allocUnsafe(Math.min(next, bytesMax + 1 - total));
      const { bytesRead } = await readLater(fd, chunk, 0, chunk.length, null);
      chunks.push(chunk.subarray(0, bytesRead));
      total += bytesRead;
      if (bytesRead === 0 || total === found.size)
        return chunks.length === 1 ? chunk.subarray(0, total) : Buffer.concat(chunks);
    }
    throw tooLarge(path, `more than ${bytesMax} bytes`, bytesMax);
  } finally {
    closeSync(fd);
  }
}

/** Opens a held regular file for reading. Without blocking: a pipe put in its place must not stop the daemon. */
export async function openHeld(held: Held): Promise<FileHandle> {
  checkFile(held);
  return open(viaDescriptor(held.handle), readFlags);
}

const readFlags = constants.O_RDONLY | constants.O_NONBLOCK;

function openFile(held: Held): number {
  checkFile(held);
  return openSync(viaDescriptor(held.handle), readFlags);
}

function checkFile({ path, found }: Held): void {
  if (found.isFile()) return;
  throw new AiosError("FAILED_PRECONDITION", { act: "open", object: path, reason: "it is not a regular file" });
}

/**
 * Holds the folder below `from` that `names` lead to, making those that are missing (0755).
 * When one cannot be made, those made before it are removed again.
 */
export async function makeFolders(from: string, names: readonly string[]): Promise<Folder> {
  let folder = folderOf((await holdForChange(from)).handle.fd);
  const made: string[] = [];
  for (const name of names) {
    const outer = folder;
    try {
      if (await makeFolder(outer, name)) made.push(name);
      folder = holdIn(outer, name);
    } catch (error) {
      await removeFolders(from, made);
      throw error;
    } finally {
      outer.close();
    }
  }
  return folder;
}

async function makeFolder(outer: Descriptor, name: string): Promise<boolean> {
  try {
    await mkdir(`${viaDescriptor(outer)}/${name}`, 0o755);
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
  await syncHeld(outer);
  const held = holdIn(outer, name);
  try {
    const folder = openSync(viaDescriptor(held), folderFlags);
    try {
      // The daemon's umask would take away what others may read.
      fchmodSync(folder, 0o755);
    } finally {
      closeSync(folder);
    }
  } finally {
    held.close();
  }
  return true;
}

/** Removes the folders `names` below `from`, the deepest first, as far as they are empty. */
export async function removeFolders(from: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const [name = "", ...deeper] = names;
  const held = await hold(from);
  const outer = held.handle;
  try {
    await removeFolders(`${from === "/" ? "" : from}/${name}`, deeper);
    await rmdir(`${viaDescriptor(outer)}/${name}`);
    await syncHeld(outer);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(errnoOf(error) ?? "")) throw error;
  } finally {
    await held.close();
  }
}

export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** When it was changed last, whole milliseconds since the epoch: of a file that is put back. */
  readonly modifiedMs?: number;
  readonly attributes?: Attributes;
}

/** The time of a file as it is kept, and compared: whole milliseconds, which can be set again exactly. */
export const modifiedMsOf = ({ mtimeMs }: { readonly mtimeMs: number }): number => Math.round(mtimeMs);

/** Sets the time at which a file was changed last. */
export const setModified = (file: FileHandle, modifiedMs: number): Promise<void> =>
  file.utimes(modifiedMs / 1000, modifiedMs / 1000);

/** Looks at `name` in a held folder: nothing, or its kind, its names and its ownership. Follows no link. */
export function standing(
  folder: Descriptor,
  name: string,
): (Ownership & { isFile: boolean; links: number }) | undefined {
  const path = `${viaDescriptor(folder)}/${name}`;
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  const attributes = found.isFile() ? keptAttributes(attributesOf(path)) : {};
  const { uid, gid, nlink: links } = found;
  return { isFile: found.isFile(), links, mode: found.mode & 0o7777, uid, gid, attributes };
}

/** The extended attributes of a held file. */
export const heldAttributes = ({ handle }: Held): Attributes => attributesOf(viaDescriptor(handle));

/**
 * Writes another content into the file at `name` in a held folder, which stays the same file: for one that has further names.
 * Not whole or not at all: who writes keeps what stood there.
 */
export async function overwriteFile(
  folder: Descriptor,
  name: string,
  content: Uint8Array | FileHandle,
  ownership: Ownership,
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await openLater(`${viaDescriptor(folder)}/${name}`, flags, 0);
  try {
    // A full disk is noticed before what stood there is written over.
    reserveSpace(file, content instanceof Uint8Array ? content.length : (await content.stat()).size);
    ftruncateSync(file, await fill(file, content));
    finish(file, ownership);
    await syncLater(file);
  } finally {
    closeSync(file);
  }
}

function finish(file: number, { uid, gid, mode, modifiedMs, attributes = {} }: Ownership): void {
  if (uid !== process.geteuid?.() || gid !== process.getegid?.()) fchownSync(file, uid, gid);
  // After chown, which clears the set-user bits.
  fchmodSync(file, mode);
  setAttributes(viaDescriptor({ fd: file }), attributes);
  if (modifiedMs !== undefined) futimesSync(file, modifiedMs / 1000, modifiedMs / 1000);
}

/**
 * Puts a file at `name` in a held folder, whole or not at all: written beside it as `temporary`, made durable, then renamed.
 * A link at `name` is replaced, never followed. One that `isNew` replaces nothing: EEXIST when something stands there by then.
 */
export async function putFile(
  folder: Descriptor,
  name: string,
  temporary: string,
  content: Uint8Array | FileHandle,
  ownership: Ownership,
  isNew = false,
): Promise<void> {
  const path = `${viaDescriptor(folder)}/${temporary}`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await openLater(path, flags, 0o600);
  try {
    await fill(file, content);
    finish(file, ownership);
    await syncLater(file);
    // While the file system closes a transaction a rename waits for it.
    await (isNew ? renameNew : renameLater)(path, `${viaDescriptor(folder)}/${name}`);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  await syncHeld(folder);
}

/** As a second name first, which replaces nothing; where a file system has no second names, after a look. */
async function renameNew(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP"].includes(errnoOf(error) ?? "")) throw error;
    if (lstatSync(to, { throwIfNoEntry: false }) !== undefined) throw Object.assign(new Error(to), { code: "EEXIST" });
    return renameLater(from, to);
  }
  await unlink(from);
}

/** Writes all of `content`; returns how much it was, bytes. */
async function fill(file: number, content: Uint8Array | FileHandle): Promise<number> {
  if (content instanceof Uint8Array) {
    await writeAll(file, content);
    return content.length;
  }
  const chunk = Buffer.allocUnsafe(262_144);
  for (let at = 0; ; ) {
    const { bytesRead } = await content.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) return at;
    await writeAll(file, chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function writeAll(file: number, content: Uint8Array): Promise<void> {
  for (let rest = content; rest.length > 0; ) {
    const written =
      rest.length <= atOnceMaxBytes
        ? writeSync(file, rest)
        : (await writeLater(file, rest, 0, rest.length)).bytesWritten;
    rest = rest.subarray(written);
  }
}

/** Removes the file `name` from a held folder, durably; nothing when there is none. */
export async function removeFile(folder: Descriptor, name: string): Promise<void> {
  await rm(`${viaDescriptor(folder)}/${name}`, { force: true });
  await syncHeld(folder);
}

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY;

/** Opened by the one who syncs: those who share it need not. */
const folderSyncs = new FolderSyncs(async (held) => {
  const folder = openSync(viaDescriptor({ fd: held }), folderFlags);
  try {
    await syncLater(folder);
  } finally {
    closeSync(folder);
  }
});

const syncHeld = ({ fd }: Descriptor): Promise<void> => folderSyncs.sync(fd);

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
