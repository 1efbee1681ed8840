/** Procedures, incidents and configuration changes, as they were told. */
export const longterm001 = `
   CREATE TABLE procedures (
     id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, steps_json BLOB NOT NULL,
     success_count INTEGER NOT NULL, fail_count INTEGER NOT NULL, avg_duration_ms INTEGER NOT NULL, tags_json TEXT NOT NULL,
     created_at INTEGER NOT NULL, last_used INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX procedures_used ON procedures (last_used, id);

   CREATE TABLE incidents (
     id TEXT PRIMARY KEY, description TEXT NOT NULL, symptoms_json BLOB NOT NULL, root_cause TEXT NOT NULL,
     resolution TEXT NOT NULL, resolved_by TEXT NOT NULL, prevention TEXT NOT NULL, timestamp INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX incidents_time ON incidents (timestamp, id);

   CREATE TABLE config_changes (
     id TEXT PRIMARY KEY, file_path TEXT NOT NULL, content TEXT NOT NULL, changed_by TEXT NOT NULL, reason TEXT NOT NULL,
     timestamp INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX config_changes_file ON config_changes (file_path, timestamp);

   CREATE TABLE decisions (
     id TEXT PRIMARY KEY, context TEXT NOT NULL, options_json BLOB NOT NULL, chosen TEXT NOT NULL, reasoning TEXT NOT NULL,
     intelligence_level TEXT NOT NULL, model_used TEXT NOT NULL, outcome TEXT NOT NULL, timestamp INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX decisions_time ON decisions (timestamp, id);`;
