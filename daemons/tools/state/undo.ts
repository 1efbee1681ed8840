/**
 * An undo whose preparation only reads is kept while the intent goes to disk; the act waits for both.
 */
import { createHash, hash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rm } from "node:fs/promises";
import type { Clock } from "#lib/clock";
import { syncFolder } from "#lib/data/files";
import { AiosError } from "#lib/errors";
import type { State } from "./state.ts";
import { type Prepared, undoTable } from "./undo-table.ts";

/** The largest file that is backed up; a change to a larger one is refused. */
export const backupSizeMaxBytes = 64 * 1024 * 1024;

/** Content up to this size is kept beside the plan, in the same commit; larger content in a file of its own. */
export const inlineMaxBytes = 64 * 1024;

/** All backups together; beyond it the oldest can no longer be undone. */
const backupsMaxBytes = 1024 * 1024 * 1024;

/** Plans are kept this long. */
const keptMs = 7 * 86_400_000;

/** Backup files of one execution. */
export interface Backups {
  /**
   * Copies what `source`, the file at `path`, holds to the backup `name`, durably; or its content, of at most {@link inlineMaxBytes}.
   * Returns its SHA-256. Throws when it is larger than 64 MiB.
   */
  save(name: string, source: FileHandle | Buffer, path: string): Promise<string>;
  /** A backup's content, or a file that holds it, which the caller closes. */
  load(name: string): Promise<Uint8Array | FileHandle>;
}

export interface Undos {
  backups(executionId: string): Backups;
  /** Keeps a plan, durably. */
  keep(plan: Omit<Prepared, "state" | "preparedAt" | "bytes">): Promise<void>;
  find(executionId: string): Prepared | undefined;
  /** Marks a plan as carried out, and removes its backups. */
  undone(executionId: string): Promise<void>;
  /** Removes the plans that were kept their time. Returns how many. */
  forget(): Promise<number>;
  /** Gives up every backup, to make room: what they were of can no longer be undone. Returns how many calls' they were. */
  giveUp(): Promise<number>;
}

/** The backups of one call before its plan is kept. */
interface Saved {
  bytes: number;
  readonly inline: Map<string, Buffer>;
}

/** Undo plans in the state, large backups in `folder`: one folder per execution. */
export async function openUndos(
  { database, commits }: State,
  folder: string,
  clock: Clock,
  totalMaxBytes = backupsMaxBytes,
): Promise<Undos> {
  const table = undoTable(database);
  const folderOf = (executionId: string) => `${folder}/${executionId}`;
  const discard = (executionId: string) => rm(folderOf(executionId), { recursive: true, force: true });
  const pending = new Map<string, Saved>();

  await mkdir(folder, { recursive: true, mode: 0o700 });
  const forget = async () => {
    const forgotten = await commits.add(() => table.forgetBefore(clock.now() - keptMs));
    for (const executionId of forgotten) await discard(executionId);
    return forgotten.length;
  };
  // Backups whose plan was never kept belong to acts that never began.
  for (const name of await readdir(folder)) if (table.find(name) === undefined) await discard(name);
  let totalBytes = table.totalBytes();

  /** Makes room by giving up the oldest backups. Returns of how many calls. */
  const prune = async (mostBytes: number) => {
    for (let given = 0; ; given++) {
      const row = totalBytes > mostBytes ? table.oldestWithBackup() : undefined;
      if (row === undefined) return given;
      totalBytes -= row.bytes;
      await commits.add(() => table.end(row.executionId, "expired"));
      await discard(row.executionId);
    }
  };

  const saveFile = async (executionId: string, name: string, source: FileHandle, path: string) => {
    await mkdir(folderOf(executionId), { recursive: true, mode: 0o700 });
    try {
      const copied = await copy(source, path, `${folderOf(executionId)}/${name}`);
      syncFolder(folderOf(executionId));
      syncFolder(folder);
      return copied;
    } catch (error) {
      await discard(executionId);
      throw error;
    }
  };

  const backups = (executionId: string): Backups => ({
    save: async (name, source, path) => {
      const saved = pending.get(executionId) ?? { bytes: 0, inline: new Map() };
      const keep = (bytes: number) => {
        saved.bytes += bytes;
        pending.set(executionId, saved);
      };
      const small = source instanceof Uint8Array ? source : await readSmall(source);
      if (small !== undefined) {
        saved.inline.set(name, small);
        keep(small.length);
        return hash("sha256", small);
      }
      const { bytes, sha256 } = await saveFile(executionId, name, source as FileHandle, path);
      keep(bytes);
      return sha256;
    },
    load: async (name) => table.backup(executionId, name) ?? (await open(`${folderOf(executionId)}/${name}`, "r")),
  });

  return {
    backups,
    keep: async (plan) => {
      const { bytes, inline } = pending.get(plan.executionId) ?? { bytes: 0, inline: new Map() };
      pending.delete(plan.executionId);
      await commits.add(() => table.insert({ ...plan, preparedAt: clock.now(), bytes, state: "ready" }, inline));
      totalBytes += bytes;
      await prune(totalMaxBytes);
    },
    find: (executionId) => table.find(executionId),
    undone: async (executionId) => {
      totalBytes -= table.find(executionId)?.bytes ?? 0;
      await commits.add(() => table.end(executionId, "undone"));
      await discard(executionId);
    },
    forget: async () => {
      const forgotten = await forget();
      totalBytes = table.totalBytes();
      return forgotten;
    },
    giveUp: () => prune(0),
  };
}

/** The whole content of a small file; undefined when it is larger than is kept beside a plan. */
async function readSmall(source: FileHandle): Promise<Buffer | undefined> {
  const chunk = Buffer.allocUnsafe(inlineMaxBytes + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await source.read(chunk, length, chunk.length - length, length);
    length += bytesRead;
    if (length > inlineMaxBytes) return undefined;
    if (bytesRead === 0) return Buffer.from(chunk.subarray(0, length));
  }
}

/** Copies a file, durably. */
async function copy(source: FileHandle, path: string, to: string): Promise<{ bytes: number; sha256: string }> {
  const target = await open(to, "wx", 0o600);
  try {
    const content = createHash("sha256");
    const chunk = Buffer.allocUnsafe(65_536);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await source.read(chunk, 0, chunk.length, bytes);
      if (bytesRead === 0) break;
      bytes += bytesRead;
      if (bytes > backupSizeMaxBytes) throw tooLarge(path);
      content.update(chunk.subarray(0, bytesRead));
      await target.writeFile(chunk.subarray(0, bytesRead));
    }
    await target.sync();
    return { bytes, sha256: content.digest("hex") };
  } finally {
    await target.close();
  }
}

function tooLarge(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "back up",
    object: path,
    reason: `larger than ${backupSizeMaxBytes} bytes, so the change could not be undone`,
    next: "the file is unchanged",
  });
}
