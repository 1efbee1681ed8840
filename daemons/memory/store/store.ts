/**
 * Writes share commits, and the disk is waited for off the event loop. SQLite writes its log without fsync; the daemon
 * fsyncs it once for all that came meanwhile and only then answers. One caller at a time gets the disk's own pace, 64
 * in flight about 6,000 durable writes/s on two cores. Each write has a savepoint: what fails undoes itself alone, and
 * a commit that fails whole (a full disk) is tried write by write, so that what fits is taken. A row may be read a
 * moment before it is durable; the journal does not show such events, since a follower could act on one that a power
 * cut undoes.
 */
import { statSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { suspect as markSuspect } from "#lib/data/damaged";
import type { Sqlite } from "#lib/data/sqlite";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { type Commits, openCommits } from "./commits.ts";
import { openFile } from "./open.ts";
import type { Place } from "./place.ts";

/** How a store is. */
interface StoreState {
  readonly state: "ok" | "new" | "restored" | "full" | "corrupt";
  /** Since when and why, for people; empty when there is nothing to tell. */
  readonly detail: string;
}

/** A database file of this daemon's: synchronous reads, commits in groups, and its upkeep. */
export interface Store {
  readonly name: string;
  readonly path: string;
  readonly migrations: readonly string[];
  /** Reads are prepared here. What is read may be on its way to the disk still. */
  readonly database: Sqlite;
  /** See {@link Commits}: resolves when what `act` wrote is on disk. */
  readonly write: Commits["write"];
  counts: Commits["counts"];
  /** Rows that were added, changed or removed since it was opened. */
  changes(): number;
  state(): StoreState;
  /** Remembers that the file is damaged and calls for a new start, which checks it and restores the last good backup. */
  suspect(error: unknown): void;
  /** Gives up to `pages` of the file's free pages back to the file system. Returns how many are left. */
  shrink(pages: number): Promise<number>;
  sizes(): { readonly file: number; readonly wal: number; readonly free: number };
  close(): void;
}

export interface StoreOptions extends Place {
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the daemon, so that it is started again. */
  readonly restart: (reason: string) => void;
}

/** Opens a store (see openFile for what happens to a damaged or missing file). */
export function openStore(options: StoreOptions): Store {
  const { name, path, migrations, clock, log, restart } = options;
  const { database, origin } = openFile(options, clock, log);
  const since = new Date(clock.now()).toISOString();
  let fullSince: string | undefined;
  let damage: string | undefined;

  const suspect = (error: unknown) => {
    if (damage !== undefined) return;
    damage = messageOf(error);
    writeMark(path, damage, log);
    log.error("a store is damaged; the daemon starts again and restores it", { store: name, error });
    restart(`store ${name}: ${damage}`);
  };
  const commits = openCommits(database, {
    space(full) {
      if (full === (fullSince !== undefined)) return;
      fullSince = full ? new Date(clock.now()).toISOString() : undefined;
      if (full) log.error("no space left: nothing more is stored, reads go on", { store: name });
      else log.info("there is space again: writes are taken", { store: name });
    },
    lost: suspect,
  });

  const free = database.prepare<[], number>("PRAGMA freelist_count").pluck();
  const changes = database.prepare<[], number>("SELECT total_changes()").pluck();
  const pageBytes = database.pragma("page_size", { simple: true }) as number;
  return {
    name,
    path,
    migrations,
    database,
    write: commits.write,
    counts: commits.counts,
    changes: () => changes.get() ?? 0,
    suspect,
    state() {
      if (damage !== undefined) return { state: "corrupt", detail: damage };
      if (fullSince !== undefined) return { state: "full", detail: `no space since ${fullSince}` };
      return { state: origin.state, detail: origin.detail && `${since}: ${origin.detail}` };
    },
    shrink: (pages) =>
      commits.write(name, () => {
        database.pragma(`incremental_vacuum(${pages})`);
        return free.get() ?? 0;
      }),
    sizes: () => ({ file: sizeOf(path), wal: sizeOf(`${path}-wal`), free: (free.get() ?? 0) * pageBytes }),
    close() {
      commits.close();
      database.close();
    },
  };
}

/** Best effort: without the mark the next start does not check the file whole. */
function writeMark(path: string, reason: string, log: Log): void {
  try {
    markSuspect(path, reason);
  } catch (error) {
    log.error("the damaged file cannot be marked", { file: path, error });
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
