import { type Outcome, openGroupCommits, type Write } from "#lib/data/commits";
import { isFullDisk } from "#lib/data/disk";
import type { Sqlite } from "#lib/data/sqlite";
import { AiosError } from "#lib/errors";

/** Writes of one commit at most: a longer one would hold up the reads. */
const togetherMax = 512;

/** The commits of one store (see `openGroupCommits`). A write that fails leaves the others of its commit alone. */
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
interface Notices {
  /** The disk took a write, or refused one for want of space. */
  readonly space: (full: boolean) => void;
  /** The disk failed: what was written cannot be trusted to be there. */
  readonly lost: (error: unknown) => void;
}

export function openCommits(database: Sqlite, { space, lost }: Notices): Commits {
  const run = transaction(database);
  let writes = 0;
  let commits = 0;
  const group = openGroupCommits(database, {
    togetherMax,
    commit: (batch) => {
      const outcomes = run(batch);
      writes += outcomes.filter((outcome) => !("error" in outcome)).length;
      commits++;
      return outcomes;
    },
    failure: (error, what) => (isFullDisk(error) ? full(what, error) : error),
    synced: (outcomes) => {
      if (outcomes.some((outcome) => "error" in outcome && isFullDisk(outcome.error))) space(true);
      else if (outcomes.some((outcome) => !("error" in outcome))) space(false);
    },
    unsynced: (error) => (isFullDisk(error) ? space(true) : lost(error)),
  });
  return { write: group.write, close: group.close, counts: () => ({ writes, commits }) };
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
      return { value };
    } catch (error) {
      // A full disk ends the whole transaction, and with it the savepoint.
      if (!database.inTransaction) throw error;
      undo.run();
      release.run();
      return { error };
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
      if (batch.length === 1) return [{ error }];
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
