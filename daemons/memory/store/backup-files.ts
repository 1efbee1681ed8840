import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";

/** A finished backup: a folder with one checked database per store. */
export interface Backup {
  /** The moment it was made: "2026-11-21T04-16-38-123Z". */
  readonly name: string;
  readonly folder: string;
  readonly createdAt: number;
  readonly bytes: number;
  readonly stores: readonly string[];
}

/** Finished backups have a time for a name; what is still being made has another ending. */
const finished = /^(\d{4}-\d{2}-\d{2}T\d{2})-(\d{2})-(\d{2})-(\d{3}Z)$/;

export function backupName(atMs: number): string {
  return new Date(atMs).toISOString().replace(/[:.]/g, "-");
}

/** A clock may be this much behind before it is set, as at a start. */
const behindMaxMs = 86_400_000;

/**
 * The backups in a folder, newest first. One whose time is still to come was made by a clock that was set back since: it comes
 * after those that were made by the right time.
 */
export function backupsIn(folder: string, nowMs: number): Backup[] {
  if (!existsSync(folder)) return [];
  const all = readdirSync(folder)
    .filter((name) => finished.test(name))
    .sort()
    .reverse()
    .map((name) => {
      const inside = join(folder, name);
      const files = readdirSync(inside).filter((file) => file.endsWith(".db"));
      const bytes = files.reduce((sum, file) => sum + statSync(join(inside, file)).size, 0);
      const createdAt = Date.parse(name.replace(finished, "$1:$2:$3.$4"));
      return { name, folder: inside, createdAt, bytes, stores: files.map((file) => file.slice(0, -3)).sort() };
    });
  const isAhead = ({ createdAt }: Backup) => Number(createdAt > nowMs + behindMaxMs);
  return all.toSorted((a, b) => isAhead(a) - isAhead(b));
}

/** The newest backup that has a store. */
export function newestWith(folder: string, store: string, nowMs: number): Backup | undefined {
  return backupsIn(folder, nowMs).find(({ stores }) => stores.includes(store));
}

/** The backup of a name, or (empty) the newest. Throws NOT_FOUND. */
export function findBackup(folder: string, name: string, nowMs: number): Backup {
  const all = backupsIn(folder, nowMs);
  const found = name === "" ? all[0] : all.find((backup) => backup.name === name);
  if (found !== undefined) return found;
  throw new AiosError("NOT_FOUND", {
    act: "find backup",
    object: name || "of any name",
    reason: all.length === 0 ? "there is none yet" : `there are ${all.map((one) => one.name).join(", ")}`,
    next: 'make one with "aiosctl memory backup"',
  });
}

/** Copies a store's backup to a path, durable, whole or not at all. */
export function copyOf(backup: Backup, store: string, path: string): void {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  try {
    copyFileSync(join(backup.folder, `${store}.db`), temporary, constants.COPYFILE_FICLONE);
    const file = openSync(temporary, "r+");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
