import { type Outcome, openGroupCommits, type Write } from "#lib/data/commits";
import { isFullDisk } from "#lib/data/disk";
import type { Sqlite } from "#lib/data/sqlite";
import type { Noticed } from "#lib/data/watchful";
import { AiosError, messageOf } from "#lib/errors";
import type { Reserve } from "./reserve.ts";

/** What a write is of, for people. */
const records = "the tools' records";

/** The commits of one of the tools' databases (see `openGroupCommits`). The writes of one commit are made all or none. */
export interface Commits {
  /** Adds to the next commit. Resolves to what `write` returns when it is on disk; throws RESOURCE_EXHAUSTED when that fails. */
  add<T>(write: () => T): Promise<T>;
  /** Commits at once, blocking: for start-up. */
  now<T>(write: () => T): T;
  close(): void;
}

/** Room for a commit that finds none. */
type Spare = Pick<Reserve, "full" | "give">;

/** What a database's commits are given from outside. */
export type Outside = Pick<Around, "reserve" | "noticed">;

/** What happens around each commit: its first and last writes, and what follows in memory when it was made or failed. */
interface Around {
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

export function openCommits(database: Sqlite, around: Around = {}): Commits {
  const transaction = database.transaction((writes: readonly Write[]): Outcome[] => {
    around.begin?.();
    const outcomes = writes.map(({ act }) => ({ value: act() }));
    around.end?.();
    return outcomes;
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
  const attempt = (writes: readonly Write[]) => {
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
  const commit = (writes: readonly Write[]) => {
    const outcomes = withRoom(() => attempt(writes));
    around.made?.();
    if (reserve?.full() === true) empty();
    return outcomes;
  };
  const failure = (error: unknown) => {
    const noticed = around.noticed?.(error) ?? error;
    return noticed === error ? unwritable(error) : noticed;
  };
  const group = openGroupCommits(database, { commit, failure, synced: () => around.synced?.() });
  return {
    add: (write) => group.write(records, write),
    now: (write) => group.now(records, write),
    close: () => {
      group.close();
      around.closing?.();
      database.close();
    },
  };
}

function unwritable(cause: unknown): AiosError {
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    {
      act: "write",
      object: records,
      reason: messageOf(cause),
      next: "nothing runs unrecorded: free space on the data partition and call again",
    },
    { cause },
  );
}
