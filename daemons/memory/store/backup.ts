/**
 * What is damaged is moved aside (three such are kept), the last good backup takes its place, and `GetStats`, an event
 * and the log say so. A backup is copied page by page within the same connection, so that writes go on; two are kept.
 */
import { mkdirSync, renameSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#lib/clock";
import { filesOf, problemIn } from "#lib/data/damaged";
import { syncFolder } from "#lib/data/files";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import { type Backup, backupName, backupsIn, copyOf, findBackup } from "./backup-files.ts";
import type { Check } from "./check.ts";
import { openIncoming, receiveBackup } from "./incoming.ts";
import type { Store } from "./store.ts";

/** Copies of all stores that are known to be good. */
export interface Backups {
  /** Newest first. */
  list(): readonly Backup[];
  /**
   * Copies each store while it is in use, checks the copies, and drops the oldest backups. One at a time: a second caller
   * gets the first one's. DATA_LOSS when a copy is not in order: then the store is not either, and is suspected.
   */
  make(): Promise<Backup>;
  /** The backup of a name, or (empty) the newest. NOT_FOUND when there is none. */
  find(name: string): Backup;
  /** Lays a backup (empty name: the newest) beside the stores: it takes their place at the next start. */
  stage(name: string): Backup;
  /**
   * Lays what an archive holds ({@link archiveOf}) beside the stores in the same way, once all of it has come and was checked; goals
   * that were under way are paused in it. Throws INVALID_ARGUMENT for what is no such archive or is cut off, FAILED_PRECONDITION for
   * one of a newer version, RESOURCE_EXHAUSTED when it has no room.
   */
  receive(chunks: AsyncIterable<Uint8Array>): Promise<Backup>;
}

interface BackupOptions {
  readonly folder: string;
  readonly stores: readonly Store[];
  readonly check: Check;
  readonly clock: Clock;
  readonly log: Log;
}

/** Good backups that are kept. */
const keptMax = 2;

/** Pages copied before the calls have their turn: 1 MiB, about a millisecond. */
const pagesAtOnce = 256;

/** The space that must be free beside the copies, bytes: a backup must not fill the disk. */
const spareBytes = 67_108_864;

export function openBackups({ folder, stores, check, clock, log }: BackupOptions): Backups {
  let making: Promise<Backup> | undefined;

  const make = async (): Promise<Backup> => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    roomFor(stores, folder);
    const name = backupName(clock.now());
    const unfinished = join(folder, `${name}.unfinished`);
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { mode: 0o700 });
    try {
      for (const store of stores) await copy(store, join(unfinished, `${store.name}.db`), check);
      syncFolder(unfinished);
      renameSync(unfinished, join(folder, name));
      syncFolder(folder);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      throw error;
    }
    for (const old of backupsIn(folder, clock.now()).slice(keptMax))
      rmSync(old.folder, { recursive: true, force: true });
    const made = findBackup(folder, name, clock.now());
    log.info("backup made", { name, bytes: made.bytes });
    return made;
  };

  return {
    list: () => backupsIn(folder, clock.now()),
    make() {
      making ??= make().finally(() => {
        making = undefined;
      });
      return making;
    },
    find: (name) => findBackup(folder, name, clock.now()),
    stage(name) {
      const backup = findBackup(folder, name, clock.now());
      const incoming = openIncoming(folder);
      try {
        for (const { name: store } of stores)
          if (backup.stores.includes(store)) copyOf(backup, store, join(incoming.folder, `${store}.db`));
        incoming.finish();
      } finally {
        incoming.clear();
      }
      return backup;
    },
    receive: (chunks) => receiveBackup({ chunks, incoming: openIncoming(folder), stores, check, clock }),
  };
}

async function copy(store: Store, path: string, check: Check): Promise<void> {
  await store.database.backup(path, { progress: () => pagesAtOnce });
  const problem = await check(path);
  for (const leftover of filesOf(path).slice(1)) rmSync(leftover, { force: true });
  if (problem === undefined) return;
  store.suspect(new Error(`its copy is not in order: ${problem}`));
  throw new AiosError("DATA_LOSS", {
    act: "back up",
    object: `store ${store.name}`,
    reason: `the copy is not in order: ${problem}`,
    next: "the daemon starts again, checks the store and restores the last good backup",
  });
}

function roomFor(stores: readonly Store[], folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  const needed = stores.reduce((sum, store) => sum + store.sizes().file + store.sizes().wal, 0) + spareBytes;
  if (bavail * bsize >= needed) return;
  throw new AiosError("RESOURCE_EXHAUSTED", {
    act: "back up",
    object: "the stores",
    reason: `it needs ${needed} bytes and ${bavail * bsize} are free`,
    next: "free space on the data partition",
  });
}

/** A check within this process, for tests and small files. */
export const checkHere: Check = async (path) => problemIn(path);
