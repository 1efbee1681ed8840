import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "#lib/clock";
import { isCorrupt, knownProblem, moveAside as moveFilesAside, suspicionOf } from "#lib/data/damaged";
import { syncFolder } from "#lib/data/files";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { copyOf, newestWith } from "./backup-files.ts";
import { functions } from "./migrations/index.ts";
import { incomingBeside, type Place } from "./place.ts";

/** How a store came to be what it is at its start. */
interface Origin {
  readonly state: "ok" | "new" | "restored";
  /** For people: from what it was restored, and why. */
  readonly detail: string;
}

interface Opened {
  readonly database: Sqlite;
  readonly origin: Origin;
}

/** SQLite's number of auto_vacuum = INCREMENTAL. A file from before that was used is rewritten once, up to this size. */
const incremental = 2;
const rewrittenMax = 67_108_864;

/**
 * Opens a store's file. One that is no database, or damaged, is moved aside; then, as when it is missing, the last good
 * backup takes its place, or an empty store when there has never been one. A file written by a newer version is refused.
 */
export function openFile(place: Place, clock: Clock, log: Log): Opened {
  const { path, name } = place;
  const staged = takeStaged(place, clock, log);
  if (staged !== undefined) return { database: openStoreFile(place), origin: staged };
  if (!existsSync(path)) {
    const wal = `${path}-wal`;
    if (existsSync(wal)) moveAside(place, "its database file is missing", clock, log);
    return refill(place, "its file was missing", clock, log);
  }
  // SQLite takes an empty file for a new database.
  const problem = statSync(path).size === 0 ? "its file is empty" : knownProblem(path);
  if (problem === undefined) {
    try {
      const database = openStoreFile(place);
      rmSync(suspicionOf(path), { force: true });
      return { database, origin: { state: "ok", detail: "" } };
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      log.error("a store cannot be read", { store: name, error });
      return openAfresh(place, messageOf(error), clock, log);
    }
  }
  return openAfresh(place, problem, clock, log);
}

function openAfresh(place: Place, problem: string, clock: Clock, log: Log): Opened {
  const aside = moveAside(place, problem, clock, log);
  return refill(place, `${problem}; what was there is in ${aside}`, clock, log);
}

/** Opens what the last good backup holds, or an empty store. */
function refill(place: Place, reason: string, clock: Clock, log: Log): Opened {
  const { path, name } = place;
  const backup = newestWith(place.backups, name, clock.now());
  if (backup === undefined) {
    const lost = existsSync(place.backups) || reason.includes("what was there");
    if (lost) log.error("a store begins empty: there is no backup of it", { store: name, reason });
    return { database: openStoreFile(place), origin: { state: "new", detail: lost ? reason : "" } };
  }
  copyOf(backup, name, path);
  syncFolder(dirname(path));
  log.error("a store was restored from its last good backup", { store: name, backup: backup.name, reason });
  return {
    database: openStoreFile(place),
    origin: { state: "restored", detail: `from backup ${backup.name}: ${reason}` },
  };
}

/** A backup that an operator wants back has been laid beside the files: what is there of this store takes its place. */
function takeStaged(place: Place, clock: Clock, log: Log): Origin | undefined {
  const incoming = incomingBeside(place.backups);
  const staged = join(incoming, `${place.name}.db`);
  if (!existsSync(staged)) return undefined;
  const aside = existsSync(place.path) ? moveAside(place, "an operator asked for a backup", clock, log) : "nothing";
  renameSync(staged, place.path);
  syncFolder(dirname(place.path));
  if (readdirSync(incoming).length === 0) rmSync(incoming, { recursive: true });
  log.warn("a store was restored as asked", { store: place.name, aside });
  return { state: "restored", detail: `as asked; what was there is in ${aside}` };
}

/** Moves the store's files aside; returns the new name. */
function moveAside({ path, name }: Place, reason: string, clock: Clock, log: Log): string {
  const aside = moveFilesAside(path, clock);
  log.error("a store's file was moved aside", { store: name, file: aside, reason });
  return aside;
}

/** Pages that were freed go back to the file system in small steps, which must be decided before the first page is written. */
function openStoreFile({ path, migrations }: Place): Sqlite {
  const database = openDatabase(path, migrations, {
    prepare: (fresh) => void fresh.pragma("auto_vacuum = INCREMENTAL"),
    functions,
  });
  try {
    database.pragma("journal_size_limit = 33554432");
    database.pragma("cache_size = -8000");
    if (database.pragma("auto_vacuum", { simple: true }) !== incremental && statSync(path).size <= rewrittenMax) {
      database.prepare("VACUUM").run();
    }
    // Reads the schema whole, so that a file whose first pages are damaged shows it now.
    database.prepare("SELECT count(*) FROM sqlite_master").get();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
