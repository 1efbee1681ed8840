import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { isFullDisk } from "#lib/data/disk";
import { syncFolder } from "#lib/data/files";
import type { Sqlite } from "#lib/data/sqlite";
import type { Noticed } from "#lib/data/watchful";
import { AiosError, messageOf } from "#lib/errors";
import type { Reserve } from "./reserve.ts";

/** Writes that wait for a commit at most; more are refused, so that a full disk does not fill the memory too. */
const queueLengthMax = 4096;

/** The log is written over and over: mostly its length stays, and the data is all that must reach the disk. */
const syncLater = promisify(fdatasync);

/**
 * The commits of one database. SQLite writes its log without waiting for the disk; this waits, off the event loop, and
 * tells nobody that a write was done before it is. What comes in while the disk is busy shares the next commit.
 */
export interface Commits {
  /** Adds to the next commit. Resolves to what `write` returns when it is on disk; throws RESOURCE_EXHAUSTED when that fails. */
  add<T>(write: () => T): Promise<T>;
  /** Commits at once, blocking: for start-up. */
  now<T>(write: () => T): T;
  close(): void;
}

/** Room for a commit that finds none. */
export type Spare = Pick<Reserve, "full" | "give">;

/** What a database's commits are given from outside. */
export type Outside = Pick<Around, "reserve" | "noticed">;

/** What happens around each commit: its first and last writes, and what follows in memory when it was made or failed. */
export interface Around {
  readonly reserve?: Spare | undefined;
  /** Looks at what a write fails with. */
  readonly noticed?: Noticed | undefined;
  readonly begin?: () => void;
  readonly end?: () => void;
  readonly made?: () => void;
  readonly failed?: () => void;
  /** The commits that were made are on disk. */
  readonly synced?: () => void;
  /** The last commit is on disk, and the database still open. */
  readonly closing?: () => void;
}

interface Waiting {
  readonly write: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export function openCommits(database: Sqlite, around: Around = {}): Commits {
  // The log is made durable below: at each commit, as synchronous=FULL would, but without stopping the daemon meanwhile.
  database.pragma("synchronous = NORMAL");
  const log = openSync(`${database.name}-wal`, "r");
  syncFolder(dirname(database.name));
  const transaction = database.transaction((writes: readonly (() => unknown)[]) => {
    around.begin?.();
    const values = writes.map((write) => write());
    around.end?.();
    return values;
  });
  const { reserve } = around;
  /** Tries until it goes or the reserve has nothing left. */
  const withRoom = <T>(act: () => T): T => {
    for (;;) {
      try {
        return act();
      } catch (error) {
        if (!isFullDisk(error) || reserve?.give() !== true) throw error;
      }
    }
  };
  const attempt = (writes: readonly (() => unknown)[]) => {
    try {
      return transaction(writes);
    } catch (error) {
      around.failed?.();
      throw error;
    }
  };
  /** Empties the log, which would grow into what is left: SQLite takes its time, and gives up where the database cannot grow. */
  const empty = () => {
    try {
      withRoom(() => database.pragma("wal_checkpoint(RESTART)"));
    } catch {
      // The next commit tries it again.
    }
  };
  const write = (writes: readonly (() => unknown)[]): unknown[] => {
    try {
      const values = withRoom(() => attempt(writes));
      around.made?.();
      if (reserve?.full() === true) empty();
      return values;
    } catch (error) {
      const told = around.noticed?.(error) ?? error;
      throw told === error ? unwritable(error) : told;
    }
  };

  let waiting: Waiting[] = [];
  let busy = false;
  const drain = async () => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        const values = write(batch.map((one) => one.write));
        await syncLater(log).catch((error) => {
          throw unwritable(error);
        });
        around.synced?.();
        for (const [at, { resolve }] of batch.entries()) resolve(values[at] as never);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    busy = false;
  };

  return {
    add: (write) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= queueLengthMax) return reject(unwritable(`${queueLengthMax} writes wait already`));
        waiting.push({ write, resolve, reject });
        if (busy) return;
        busy = true;
        // After this turn of the event loop: calls that arrived together are committed together.
        setImmediate(drain);
      }),
    now: (act) => {
      const [value] = write([act]);
      fdatasyncSync(log);
      around.synced?.();
      return value as never;
    },
    close: () => {
      const last = waiting;
      waiting = [];
      const values = last.length > 0 ? write(last.map((one) => one.write)) : [];
      fdatasyncSync(log);
      if (last.length > 0) around.synced?.();
      for (const [at, { resolve }] of last.entries()) resolve(values[at] as never);
      around.closing?.();
      closeSync(log);
      database.close();
    },
  };
}

function unwritable(cause: unknown): AiosError {
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    {
      act: "write",
      object: "the tools' records",
      reason: messageOf(cause),
      next: "nothing runs unrecorded: free space on the data partition and call again",
    },
    { cause },
  );
}
