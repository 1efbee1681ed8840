import { closeSync, fsync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { isFullDisk } from "#lib/data/disk";
import { syncFolder } from "#lib/data/files";
import type { Sqlite } from "#lib/data/sqlite";
import { AiosError } from "#lib/errors";

/** Writes that wait for a commit at most; more are refused, so that a slow disk does not fill the memory. */
export const waitingMax = 4_096;

/** Writes of one commit at most: a longer one would hold up the reads. */
const togetherMax = 512;

const fsyncLater = promisify(fsync);

/**
 * The commits of one database: what is written at the same time shares one. SQLite writes its log without waiting for the
 * disk; this waits, off the event loop, and tells nobody that a write was done before it is. What comes in while the disk
 * is busy shares the next commit.
 */
export interface Commits {
  /**
   * Runs `act` in the next commit, within a savepoint of its own: what it throws undoes and rejects this write alone.
   * Resolves to what it returns when that is on disk. It must be SQL that can run again: a commit that fails as a whole is
   * tried once more, write by write. Throws RESOURCE_EXHAUSTED when the disk is full or too many writes wait.
   */
  write<T>(what: string, act: () => T): Promise<T>;
  counts(): { readonly writes: number; readonly commits: number };
  /** Writes what waits; the database stays open. */
  close(): void;
}

/** What the outside hears of. */
export interface Notices {
  /** The disk took a write, or refused one for want of space. */
  readonly space: (full: boolean) => void;
  /** The disk failed: what was written cannot be trusted to be there. */
  readonly lost: (error: unknown) => void;
}

interface Write {
  readonly what: string;
  readonly act: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

interface Outcome {
  readonly write: Write;
  readonly value?: unknown;
  readonly error?: unknown;
}

export function openCommits(database: Sqlite, { space, lost }: Notices): Commits {
  // The log is made durable below, at each commit, as synchronous=FULL would, but without stopping the daemon meanwhile.
  database.pragma("synchronous = NORMAL");
  const log = openSync(`${database.name}-wal`, "r");
  syncFolder(dirname(database.name));
  const run = transaction(database);
  let waiting: Write[] = [];
  let busy = false;
  let writes = 0;
  let commits = 0;

  const settle = (outcomes: readonly Outcome[]) => {
    for (const { write, value, error } of outcomes) {
      if (error === undefined) write.resolve(value as never);
      else write.reject(isFullDisk(error) ? full(write.what, error) : error);
    }
    if (outcomes.some(({ error }) => isFullDisk(error))) space(true);
    else if (outcomes.some(({ error }) => error === undefined)) space(false);
  };
  const commit = (batch: readonly Write[]): Outcome[] => {
    const outcomes = run(batch);
    writes += outcomes.filter(({ error }) => error === undefined).length;
    commits++;
    return outcomes;
  };
  const drain = async () => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, togetherMax);
      waiting = waiting.slice(togetherMax);
      const outcomes = commit(batch);
      try {
        await fsyncLater(log);
        settle(outcomes);
      } catch (error) {
        for (const { write } of outcomes) write.reject(isFullDisk(error) ? full(write.what, error) : error);
        if (isFullDisk(error)) space(true);
        else lost(error);
      }
    }
    busy = false;
  };

  return {
    write: (what, act) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= waitingMax) return reject(crowded(what));
        waiting.push({ what, act, resolve, reject });
        if (busy) return;
        busy = true;
        // After this turn of the event loop: calls that arrived together are committed together.
        setImmediate(drain);
      }),
    counts: () => ({ writes, commits }),
    close: () => {
      const last = waiting;
      waiting = [];
      const outcomes = last.length > 0 ? commit(last) : [];
      fsyncSync(log);
      settle(outcomes);
      closeSync(log);
    },
  };
}

/** Runs writes in one transaction, each in a savepoint; one by one when they fail together. */
function transaction(database: Sqlite): (batch: readonly Write[]) => Outcome[] {
  const [begin, commit, rollback] = [
    database.prepare<[]>("BEGIN IMMEDIATE"),
    database.prepare<[]>("COMMIT"),
    database.prepare<[]>("ROLLBACK"),
  ];
  const [save, release, undo] = [
    database.prepare<[]>("SAVEPOINT one"),
    database.prepare<[]>("RELEASE one"),
    database.prepare<[]>("ROLLBACK TO one"),
  ];
  const each = (write: Write): Outcome => {
    save.run();
    try {
      const value = write.act();
      release.run();
      return { write, value };
    } catch (error) {
      // A full disk ends the whole transaction, and with it the savepoint.
      if (!database.inTransaction) throw error;
      undo.run();
      release.run();
      return { write, error };
    }
  };
  const together = (batch: readonly Write[]): Outcome[] => {
    begin.run();
    try {
      const outcomes = batch.map(each);
      commit.run();
      return outcomes;
    } catch (error) {
      if (database.inTransaction) rollback.run();
      throw error;
    }
  };
  const tried = (batch: readonly Write[]): Outcome[] => {
    try {
      return together(batch);
    } catch (error) {
      const [only] = batch;
      if (batch.length === 1 && only !== undefined) return [{ write: only, error }];
      return batch.flatMap((write) => tried([write]));
    }
  };
  return tried;
}

function full(what: string, cause: unknown): AiosError {
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    { act: "store", object: what, reason: "the data partition is full", next: "free space; reads go on meanwhile" },
    { cause },
  );
}

function crowded(what: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "store",
    object: what,
    reason: `${waitingMax} writes wait for the disk already`,
    next: "write more slowly, or look at the disk",
  });
}
