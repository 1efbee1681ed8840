import type { Sqlite } from "#lib/sqlite";

/** Runs writes so that all that come in one turn of the event loop share one commit, and one wait for the disk. */
export type Commits = <T>(write: () => T) => Promise<T>;

interface Waiting {
  readonly write: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

/** A write that throws is undone alone; when the commit fails, all of its writes fail. Resolves when it is on disk. */
export function groupCommits(database: Sqlite): Commits {
  let waiting: Waiting[] = [];
  const attempt = database.transaction((write: () => unknown) => write());
  const all = database.transaction((batch: readonly Waiting[]) =>
    batch.map(({ write, resolve, reject }): (() => void) => {
      try {
        const value = attempt(write);
        return () => resolve(value as never);
      } catch (error) {
        return () => reject(error);
      }
    }),
  );
  const flush = () => {
    const batch = waiting;
    waiting = [];
    try {
      for (const tell of all(batch)) tell();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };
  return (write) =>
    new Promise((resolve, reject) => {
      waiting.push({ write, resolve, reject });
      if (waiting.length === 1) setImmediate(flush);
    });
}
