import { AiosError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { isCorrupt, suspect } from "./damaged.ts";

/** Looks whether an error tells of a damaged database. Returns another one for the caller, or the same. */
export type Noticed = (error: unknown) => unknown;

interface Watched {
  /** The database files of the daemon. SQLite does not say which of them was damaged: all are checked at the next start. */
  readonly files: readonly string[];
  /** The files' content, for people, and what the next start does. */
  readonly what: string;
  readonly next: string;
  readonly log: Log;
  /** Ends the daemon, so that it is started again. Called once. */
  readonly restart: () => void;
}

/** Looks at errors; the first that tells of a damaged database marks the files and calls for a new start. */
export function watchDamage({ files, what, next, log, restart }: Watched): Noticed {
  let known = false;
  const mark = (error: unknown) => {
    known = true;
    log.error("a database is damaged; the daemon starts again and checks all of it", { error });
    for (const file of files) {
      try {
        suspect(file, messageOf(error));
      } catch (fault) {
        // Without the mark the next start checks a small file alone.
        log.error("the damaged file cannot be marked", { file, error: fault });
      }
    }
    restart();
  };
  return (error) => {
    if (!isCorrupt(error)) return error;
    if (!known) mark(error);
    return new AiosError(
      "DATA_LOSS",
      { act: "read", object: what, reason: "its database is damaged", next },
      { cause: error },
    );
  };
}

/** Ends this process in order, after the answers in flight are out; init starts it again. */
export const restartSoon = (): void => void setTimeout(() => process.kill(process.pid, "SIGTERM"), 50);

/** Opens what reads the databases, and looks at what it fails with: the next start checks them then. */
export async function opening<T>(noticed: Noticed, open: () => Promise<T> | T): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw noticed(error);
  }
}
