import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import { openOrBegin } from "#lib/data/damaged";
import type { Sqlite } from "#lib/data/sqlite";

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

/** The file beside the database whose key seals the secrets: where it is, there was a database. */
export const secretsKeyIn = (folder: string): string => `${folder}/secrets.key`;

/** The next step for a person when the database is lost. */
export const remedy =
  'set providers\' keys again with "aiosctl secrets set NAME"; what was spent this month is not known';

/**
 * The gateway's database at `path`: usage, alerts that were given, sealed secrets. One that cannot be read is moved aside and
 * begun anew; `lost` is told what that means, also of one that was there and is not, or is empty.
 */
export function openGatewayDatabase(path: string, clock: Clock, lost: (what: string) => void = () => {}): Sqlite {
  const empty = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const { database, problem, aside } = openOrBegin(path, migrations, clock);
  if (problem !== undefined) lost(`the gateway's database cannot be read (${problem}) and is now ${aside}; ${remedy}`);
  else if (empty && existsSync(secretsKeyIn(dirname(path))))
    lost(`the gateway's database ${path} is gone or empty; ${remedy}`);
  // What was removed is overwritten, not only let go.
  database.pragma("secure_delete = ON");
  return database;
}
