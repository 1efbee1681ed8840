/**
 * One database, one process. Every SQLite file belongs to one daemon and is opened with an exclusive lock: SQLite then
 * needs no shared memory file, and a daemon starts, answers and reads on a full disk, where it refuses what it could
 * not keep. WAL's default loses acknowledged writes in a power cut, so `synchronous` is FULL.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";

export type Sqlite = Database.Database;

interface DatabaseOptions {
  /**
   * Sets what must be set before the first page is written. Not called for a database that has pages: it would write, and on a
   * full disk that is one write too many.
   */
  readonly prepare?: (database: Sqlite) => void;
  /** Functions that the schema's triggers and its migrations call, by name. */
  readonly functions?: Readonly<Record<string, (text: string) => string>>;
}

/**
 * Opens a database (made when missing) in WAL mode with synchronous=FULL: what was committed survives a power cut.
 * `migrations` are SQL scripts in order; those the file has not seen are applied, each in a transaction.
 * The file is this process's alone while it is open: SQLite then needs no file of shared memory, and an existing database
 * opens on a full disk too. Throws when the file is in use, is not a database or was written by a newer version.
 */
export function openDatabase(path: string, migrations: readonly string[], options: DatabaseOptions = {}): Sqlite {
  mkdirSync(dirname(path), { recursive: true });
  const isNew = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const database = new Database(path);
  try {
    database.pragma("locking_mode = EXCLUSIVE");
    register(database, options.functions);
    if (isNew) options.prepare?.(database);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    migrate(database, migrations);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Adds functions of one text to a connection: the same text must always give the same. */
export function register(database: Sqlite, functions: DatabaseOptions["functions"] = {}): void {
  for (const [name, act] of Object.entries(functions)) database.function(name, { deterministic: true }, act);
}

function migrate(database: Sqlite, migrations: readonly string[]): void {
  const version = database.pragma("user_version", { simple: true }) as number;
  if (version > migrations.length) {
    throw new Error(
      `open ${database.name}: written by a newer version (schema ${version}, this program knows ${migrations.length}); boot the newer image`,
    );
  }
  migrations.slice(version).forEach((script, index) => {
    database.transaction(() => {
      database.exec(script);
      database.pragma(`user_version = ${version + index + 1}`);
    })();
  });
}
