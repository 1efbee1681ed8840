/** Sessions, their branches, and the events of each branch. */
export const journal001 = `
   CREATE TABLE sessions (
     number INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, agent_id TEXT NOT NULL, created_at INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX sessions_agent ON sessions (agent_id, number);

   CREATE TABLE branches (
     number INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
     branch_id TEXT NOT NULL, parent INTEGER REFERENCES branches (number), fork_sequence INTEGER NOT NULL,
     head INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, UNIQUE (session, branch_id)
   ) STRICT;

   CREATE TABLE journal (
     branch INTEGER NOT NULL REFERENCES branches (number) ON DELETE CASCADE, sequence INTEGER NOT NULL,
     event_id TEXT NOT NULL, event_json TEXT NOT NULL, PRIMARY KEY (branch, sequence)
   ) STRICT, WITHOUT ROWID;
   CREATE UNIQUE INDEX journal_event ON journal (branch, event_id);`;
