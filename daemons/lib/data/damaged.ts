import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import type { Clock } from "../clock.ts";
import { errnoOf, messageOf } from "../errors.ts";
import { syncFolder } from "./files.ts";
import { openDatabase, type Sqlite } from "./sqlite.ts";

/**
 * The way of daemons with a file of theirs that is not what it was: it is moved aside, never deleted, and they begin
 * anew.
 */

/** Files moved aside that are kept, of each. */
const asideMax = 3;

/** SQLite's files of one database. */
export const filesOf = (path: string): readonly string[] => [path, `${path}-wal`, `${path}-shm`, `${path}-journal`];

/** Beside a file: why it is not to be trusted until it has been checked. */
export const suspicionOf = (path: string): string => `${path}.suspect`;

/** Remembers over a restart that a database is not to be trusted. Throws when that cannot be written. */
export const suspect = (path: string, reason: string): void => writeFileSync(suspicionOf(path), `${reason}\n`);

/**
 * Moves a file aside, and with a database what belongs to it; durably. Returns its new name. The oldest of more than three that
 * were moved aside before is deleted.
 */
export function moveAside(path: string, clock: Clock): string {
  const at = new Date(clock.now()).toISOString().replace(/[:.]/g, "-");
  const aside = `${path}.aside-${at}`;
  for (const file of filesOf(path)) if (existsSync(file)) renameSync(file, file.replace(path, aside));
  rmSync(suspicionOf(path), { force: true });
  syncFolder(dirname(path));
  dropOldAsides(path, aside);
  return aside;
}

/** A name that is later than the one just `made` is of a clock that was set back since: it goes first. */
function dropOldAsides(path: string, made: string): void {
  const folder = dirname(path);
  const prefix = `${basename(path)}.aside-`;
  const names = readdirSync(folder).filter((file) => file.startsWith(prefix));
  const moments = [...new Set(names.map((file) => file.replace(/-(wal|shm|journal)$/, "")))].sort();
  const isPast = (moment: string) => Number(moment <= basename(made));
  const old = moments.toSorted((a, b) => isPast(a) - isPast(b)).slice(0, -asideMax);
  for (const file of names) if (old.some((moment) => file.startsWith(moment))) rmSync(join(folder, file));
}

/**
 * Checks every page, index and reference; reads the whole file, some hundred MB a second. The file stays as it is.
 * Throws when it cannot be read for another reason than its content.
 */
export function problemIn(path: string): string | undefined {
  let database: Database.Database | undefined;
  try {
    database = new Database(path, { fileMustExist: true });
    database.pragma("locking_mode = EXCLUSIVE");
    const [first] = database.pragma("integrity_check(1)") as { integrity_check: string }[];
    if (first?.integrity_check !== "ok") return first?.integrity_check.replace(/\s+/g, " ") ?? "the check says nothing";
    const [dangling] = database.pragma("foreign_key_check") as { table: string }[];
    return dangling === undefined ? undefined : `a row of ${dangling.table} refers to one that is not there`;
  } catch (error) {
    if (isCorrupt(error)) return messageOf(error);
    throw error;
  } finally {
    database?.close();
  }
}

/** Whether an error of SQLite says that the file is not what it was. */
export function isCorrupt(error: unknown): boolean {
  const code = errnoOf(error) ?? "";
  return (
    code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB" || /malformed|not a database/.test(sqlite(error))
  );
}

const sqlite = (error: unknown) => ((errnoOf(error) ?? "").startsWith("SQLITE_") ? messageOf(error) : "");

/** A file up to this size is checked whole at every start; a larger one when it is suspected. Bytes; a few milliseconds. */
const checkedAtStartMax = 2_097_152;

interface Begun {
  readonly database: Sqlite;
  /** Why what was there could not be used; undefined when it could, or nothing was there. */
  readonly problem?: string;
  /** Where it is now. */
  readonly aside?: string;
}

/** Why the database at a path is not to be used; undefined when nothing is known against it. */
export function knownProblem(path: string): string | undefined {
  const suspected = existsSync(suspicionOf(path));
  return suspected || statSync(path).size <= checkedAtStartMax ? problemIn(path) : undefined;
}

/** Opens a database, or moves one aside that cannot be read and begins an empty one. `probe` reads what is needed at once. */
export function openOrBegin(
  path: string,
  migrations: readonly string[],
  clock: Clock,
  { prepare, probe }: { prepare?: (fresh: Sqlite) => void; probe?: (opened: Sqlite) => void } = {},
): Begun {
  const open = () => openDatabase(path, migrations, prepare && { prepare });
  let problem = existsSync(path) ? knownProblem(path) : undefined;
  if (problem === undefined) {
    let database: Sqlite | undefined;
    try {
      database = open();
      probe?.(database);
      rmSync(suspicionOf(path), { force: true });
      return { database };
    } catch (error) {
      database?.close();
      if (!isCorrupt(error) && errnoOf(error) !== "SQLITE_ERROR") throw error;
      problem = messageOf(error);
    }
  }
  const aside = moveAside(path, clock);
  return { database: open(), problem, aside };
}
