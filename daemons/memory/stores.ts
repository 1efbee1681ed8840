import { dirname, join } from "node:path";
import { isCorrupt } from "#lib/data/damaged";
import type { Noticed } from "#lib/data/watchful";
import { AiosError } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Event } from "./records.ts";
import { openStore, type Store, type StoreOptions } from "./store/index.ts";
import { journalMigrations, longtermMigrations, workingMigrations } from "./store/migrations/index.ts";

/** The daemon's three database files. */
interface Stores {
  readonly working: Store;
  readonly journal: Store;
  readonly longterm: Store;
  readonly all: readonly Store[];
  /** Where the backups are. */
  readonly backups: string;
  readonly vacuumFile: string;
  readonly pruneFile: string;
  close(): void;
}

/** Opens the stores; the journal and the backups are beside the working store. */
export function openStores(
  files: { readonly working_db: string; readonly longterm_db: string },
  outside: Pick<StoreOptions, "clock" | "log" | "restart">,
): Stores {
  const folder = dirname(files.working_db);
  const backups = join(folder, "backups");
  const open = (name: string, path: string, migrations: readonly string[]) =>
    openStore({ name, path, migrations, backups, ...outside });
  const working = open("working", files.working_db, workingMigrations);
  const journal = open("journal", join(folder, "journal.db"), journalMigrations);
  const longterm = open("longterm", files.longterm_db, longtermMigrations);
  const all = [working, journal, longterm];
  return {
    working,
    journal,
    longterm,
    all,
    backups,
    vacuumFile: join(folder, "last-vacuum"),
    pruneFile: join(folder, "last-pruned"),
    close: () => {
      for (const store of all) store.close();
    },
  };
}

/** Events about the stores at this start: none when they were as they had been left. */
export function startEvents(stores: Stores, nowMs: number): Event[] {
  return stores.all.flatMap((store) => {
    const { state, detail } = store.state();
    if (detail === "") return [];
    const dataJson = Buffer.from(JSON.stringify({ store: store.name, state, detail }));
    return [{ id: uuidv7(nowMs), timestamp: nowMs, category: "error", source: "memory", dataJson, critical: true }];
  });
}

/** Looks at errors: one that tells of a damaged store is another for the caller, and the daemon starts again to restore it. */
export const noticedBy =
  (stores: Stores): Noticed =>
  (error) => {
    if (!isCorrupt(error)) return error;
    // SQLite does not say which of the files it was: all of them are checked.
    for (const store of stores.all) store.suspect(error);
    return new AiosError(
      "DATA_LOSS",
      {
        act: "read",
        object: "what is remembered",
        reason: "a store is damaged",
        next: 'the last good backup is being restored; see "aiosctl memory stats"',
      },
      { cause: error },
    );
  };
