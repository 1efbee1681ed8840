import { statSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { openOrBegin } from "#lib/data/damaged";
import type { Sqlite } from "#lib/data/sqlite";
import { type Commits, type Outside, openCommits } from "./commits.ts";

const migrations = [
  `CREATE TABLE capability_grant (
     id INTEGER PRIMARY KEY, executionId TEXT NOT NULL, agent TEXT NOT NULL, capability TEXT NOT NULL,
     reason TEXT NOT NULL, taskId TEXT NOT NULL, asks INTEGER NOT NULL, grantedAt INTEGER NOT NULL,
     expiresAt INTEGER NOT NULL, revokedBy TEXT
   ) STRICT;
   CREATE INDEX grant_agent ON capability_grant (agent);
   CREATE INDEX grant_execution ON capability_grant (executionId);
   CREATE INDEX grant_revoked ON capability_grant (revokedBy) WHERE revokedBy IS NOT NULL;
   CREATE TABLE undo (
     executionId TEXT PRIMARY KEY, tool TEXT NOT NULL, needs TEXT NOT NULL, locks TEXT NOT NULL, plan TEXT NOT NULL,
     preparedAt INTEGER NOT NULL, bytes INTEGER NOT NULL, state TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX undo_prepared ON undo (preparedAt);
   CREATE TABLE backup (
     executionId TEXT NOT NULL REFERENCES undo ON DELETE CASCADE, name TEXT NOT NULL, content BLOB NOT NULL,
     PRIMARY KEY (executionId, name)
   ) STRICT;`,
  `CREATE TABLE document (
     sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (kind, id)
   ) STRICT;`,
  // Of what was done before nothing says who may take it back: an admin.
  "ALTER TABLE undo ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'",
];

/** The tools daemon's records beside the ledger: grants, undo plans, documents. */
export interface State {
  readonly database: Sqlite;
  /** The only way to write: read from `database`, write in here. */
  readonly commits: Commits;
}

/** Opens tools.db in `folder`, made when missing. One that cannot be read is moved aside; `lost` is told what that means. */
export function openState(
  folder: string,
  clock: Clock,
  lost: (what: string) => void = () => {},
  outside: Outside = {},
): State {
  const path = `${folder}/tools.db`;
  // The ledger is older than this: where it has entries, there was a file.
  const isNew = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const {
    database,
    problem = "its file was missing or empty",
    aside,
  } = openOrBegin(path, migrations, clock, {
    probe: (opened) => void opened.prepare("SELECT count(*) FROM sqlite_master").get(),
  });
  const where = aside === undefined ? "" : `; what was there is in ${aside}`;
  if (isNew || aside !== undefined) lost(`tools.db could not be read (${problem}): ${content}${where}`);
  return { database, commits: openCommits(database, outside) };
}

const content = "grants, undo plans, calls that waited for a person, alerts and custom tools are lost";
