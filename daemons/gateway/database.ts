import { openDatabase, type Sqlite } from "#lib/sqlite";

const migrations = [
  `CREATE TABLE usage (
     at INTEGER NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
     input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
     agent TEXT NOT NULL, task_id TEXT NOT NULL
   ) STRICT;
   CREATE INDEX usage_at ON usage (at);`,
  `ALTER TABLE usage ADD COLUMN outcome TEXT NOT NULL DEFAULT 'answered';
   CREATE TABLE alert (
     provider TEXT NOT NULL, month INTEGER NOT NULL, percent INTEGER NOT NULL, PRIMARY KEY (provider, month, percent)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE secret (
     name TEXT PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL, tag BLOB NOT NULL,
     set_at INTEGER NOT NULL, set_by TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;`,
];

/** The gateway's database at `path`: usage, alerts that were given, sealed secrets. */
export function openGatewayDatabase(path: string): Sqlite {
  const database = openDatabase(path, migrations);
  // What was removed is overwritten, not only let go.
  database.pragma("secure_delete = ON");
  return database;
}
