/**
 * A file with several names is written in place, since a rename would leave the other names behind; what stood there is
 * backed up first, its room is taken before the first byte is written, and a crash puts it back.
 */
import { hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { AiosError, errnoOf } from "#lib/errors";
import {
  type Held,
  heldAttributes,
  hold,
  makeFolders,
  modifiedMsOf,
  type Ownership,
  openHeld,
  overwriteFile,
  putFile,
  type ResolvedPath,
  readHeld,
  removeFile,
  removeFolders,
  standing,
} from "../../files/index.ts";
import { type Backups, backupSizeMaxBytes, inlineMaxBytes } from "../../state/index.ts";
import type { Undo } from "../../tool.ts";
import { named } from "./words.ts";

/** The largest content of a file that is read or written whole, bytes: what was written can be read back. */
export const contentMaxBytes = 1024 * 1024;

/** The ownership and mode of a new file: the daemon's umask keeps others from writing it, not from reading. */
const newFile = { mode: 0o644, uid: 0, gid: 0 };

/** The means to take a write back. */
export interface WritePlan {
  readonly path: string;
  /** The folder that stood before, and the names of those to be made below it. */
  readonly folder: string;
  readonly madeFolders: readonly string[];
  /** SHA-256 of what is written: a file that holds something else by now is not touched. */
  readonly written: string;
  /** How much is written. */
  readonly bytes: number;
  /** The file that stood before; its content is the backup "content". */
  readonly before?: Before | undefined;
}

interface Before extends Ownership {
  readonly sha256: string;
  /** Its names: one that has several stays the same file. */
  readonly links: number;
}

const backupName = "content";

/** Writes a file through the folder that was resolved, whole or not at all. */
export async function writeFile(
  path: ResolvedPath,
  content: Buffer,
  executionId: string,
): Promise<{ bytes_written: number }> {
  checkSize(path.path, content);
  await placeFile(path, content, executionId);
  return { bytes_written: content.length };
}

/**
 * Puts a file where `path` was resolved to, with the folders that are missing, whole or not at all. One that stands keeps
 * its owner, and its mode too unless there is `mode`.
 */
export async function placeFile(
  path: ResolvedPath,
  content: Uint8Array | FileHandle,
  executionId: string,
  mode?: number,
): Promise<void> {
  const made = path.names.slice(0, -1);
  const name = fileName(path);
  const folder = await makeFolders(path.folder, made);
  try {
    const before = standing(folder, name);
    if (before !== undefined && !before.isFile) throw notAFile(path.path);
    const ownership = { ...(before ?? owned(newFile)), ...(mode !== undefined && { mode }) };
    if (before !== undefined && before.links > 1) await overwriteFile(folder, name, content, ownership);
    else await putFile(folder, name, temporaryName(executionId), content, ownership, before === undefined);
  } catch (error) {
    await removeFolders(path.folder, made);
    throw error;
  } finally {
    folder.close();
  }
}

/** Restores the file that stood before, or removes the new one and the folders made for it. */
export const undoWrite: Undo<{ path: string; content: string }, { path: "path" }, WritePlan> = {
  preparesByReading: true,
  prepare: ({ input, resources: { path } }, backups) =>
    named("back up", path.path, async () => {
      const content = Buffer.from(input.content);
      checkSize(path.path, content);
      return planWrite(path, { sha256: hash("sha256", content), bytes: content.length }, backups);
    }),
  restore: (plan, { executionId, backups }) =>
    named("restore", plan.path, async () => {
      const now = await contentHash(plan.path);
      if (now === plan.before?.sha256) return removeFolders(plan.folder, plan.madeFolders);
      if (now !== undefined && now !== plan.written) throw changedSince(plan.path);
      if (plan.before === undefined) await removeFrom(plan.path);
      else await putBack(plan.path, plan.before, executionId, await backups.load(backupName));
      await removeFolders(plan.folder, plan.madeFolders);
    }),
  settle: (plan, { executionId, backups }) =>
    named("tidy", plan.path, async () => {
      await settleOverwritten(plan, executionId, backups);
      const folder = await holdIfThere(dirname(plan.path));
      if (folder === undefined) return;
      try {
        await removeFile(folder.handle, temporaryName(executionId));
      } finally {
        await folder.close();
      }
    }),
};

/** Plans how to take back the writing of a content with this SHA-256 and length; backs up what stands there. */
export async function planWrite(
  { path, folder, names }: ResolvedPath,
  { sha256: written, bytes }: { readonly sha256: string; readonly bytes: number },
  backups: Backups,
): Promise<WritePlan> {
  const plan = { path, folder, madeFolders: names.slice(0, -1), written, bytes };
  const before = await backUp(path, backups);
  return before === undefined ? plan : { ...plan, before };
}

/** Backs up the file at `path`. Looked at now, not at the gate: another call may have written it while this one waited. */
async function backUp(path: string, backups: Backups): Promise<Before | undefined> {
  const held = await holdIfThere(path);
  if (held === undefined) return undefined;
  try {
    const { mode, uid, gid, nlink: links } = held.found;
    const sha256 = await save(held, path, backups);
    const attributes = heldAttributes(held);
    return { sha256, links, mode: mode & 0o7777, uid, gid, modifiedMs: modifiedMsOf(held.found), attributes };
  } finally {
    await held.close();
  }
}

async function save(held: Held, path: string, backups: Backups): Promise<string> {
  if (held.found.size <= inlineMaxBytes) return backups.save(backupName, await readHeld(held, inlineMaxBytes), path);
  const file = await openHeld(held);
  try {
    return await backups.save(backupName, file, path);
  } finally {
    await file.close();
  }
}

/**
 * A file with several names is not replaced but written over, which a crash leaves half done: then what stood there is put
 * back. A content that another wrote, so one that differs from it beyond what was to be written, is left.
 */
async function settleOverwritten({ path, before, written, bytes }: WritePlan, executionId: string, backups: Backups) {
  if (before === undefined || before.links === 1) return;
  const held = await holdIfThere(path);
  if (held === undefined) return;
  let now: Buffer;
  try {
    now = await readHeld(held, backupSizeMaxBytes);
  } finally {
    await held.close();
  }
  if ([before.sha256, written].includes(hash("sha256", now))) return;
  const kept = await backups.load(backupName);
  const content = kept instanceof Uint8Array ? Buffer.from(kept) : await kept.readFile();
  if (!(kept instanceof Uint8Array)) await kept.close();
  // It is cut at the end alone: what is shorter than what stood there is another's.
  const isHalf = now.length >= content.length && now.subarray(bytes).equals(content.subarray(bytes));
  if (isHalf) await putBack(path, before, executionId, content);
}

async function putBack(
  path: string,
  before: Before,
  executionId: string,
  backup: Uint8Array | FileHandle,
): Promise<void> {
  const folder = await hold(dirname(path));
  try {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if ((standing(folder.handle, name)?.links ?? 1) > 1) await overwriteFile(folder.handle, name, backup, before);
    else await putFile(folder.handle, name, temporaryName(executionId), backup, before);
  } finally {
    if (!(backup instanceof Uint8Array)) await backup.close();
    await folder.close();
  }
}

async function removeFrom(path: string): Promise<void> {
  const folder = await holdIfThere(dirname(path));
  if (folder === undefined) return;
  try {
    await removeFile(folder.handle, path.slice(path.lastIndexOf("/") + 1));
  } finally {
    await folder.close();
  }
}

/** SHA-256 of a file's content; undefined when there is none. */
async function contentHash(path: string): Promise<string | undefined> {
  const held = await holdIfThere(path);
  if (held === undefined) return undefined;
  try {
    return hash("sha256", await readHeld(held, backupSizeMaxBytes));
  } finally {
    await held.close();
  }
}

async function holdIfThere(path: string): Promise<Held | undefined> {
  try {
    return await hold(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** A new file belongs to who runs the daemon: root on the machine. */
function owned(file: typeof newFile) {
  return { ...file, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

/** Known from the execution, so that it can be cleared away after a crash. */
const temporaryName = (executionId: string) => `.aios-${executionId}`;

function fileName({ path, names }: ResolvedPath): string {
  const name = names.at(-1);
  if (name === undefined) throw notAFile(path);
  return name;
}

function checkSize(path: string, content: Buffer): void {
  if (content.length <= contentMaxBytes) return;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "write",
    object: path,
    reason: `${content.length} bytes, and at most ${contentMaxBytes} are written at once`,
  });
}

function notAFile(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act: "write", object: path, reason: "it is not a regular file" });
}

function changedSince(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "restore",
    object: path,
    reason: "it was changed again since",
    next: "roll back the later change first",
  });
}
