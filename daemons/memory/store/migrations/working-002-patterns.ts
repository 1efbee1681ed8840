/** Patterns with what they were worth, the metrics' history, and indexes for lists by filter. */
export const working002 = `
   CREATE TABLE patterns (
     id TEXT PRIMARY KEY, trigger TEXT NOT NULL, action TEXT NOT NULL, success_rate REAL NOT NULL, uses INTEGER NOT NULL,
     last_used INTEGER NOT NULL, created_from TEXT NOT NULL
   ) STRICT;
   CREATE INDEX patterns_used ON patterns (last_used, id);
   CREATE INDEX patterns_origin ON patterns (created_from, last_used, id);
   CREATE VIRTUAL TABLE pattern_words USING fts5 (
     trigger, content = 'patterns', content_rowid = 'rowid', tokenize = 'porter unicode61 remove_diacritics 2'
   );
   CREATE TRIGGER patterns_added AFTER INSERT ON patterns BEGIN
     INSERT INTO pattern_words (rowid, trigger) VALUES (new.rowid, new.trigger);
   END;
   CREATE TRIGGER patterns_removed AFTER DELETE ON patterns BEGIN
     INSERT INTO pattern_words (pattern_words, rowid, trigger) VALUES ('delete', old.rowid, old.trigger);
   END;
   CREATE TRIGGER patterns_reworded AFTER UPDATE OF trigger ON patterns BEGIN
     INSERT INTO pattern_words (pattern_words, rowid, trigger) VALUES ('delete', old.rowid, old.trigger);
     INSERT INTO pattern_words (rowid, trigger) VALUES (new.rowid, new.trigger);
   END;

   CREATE TABLE metrics (
     key TEXT NOT NULL, timestamp INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (key, timestamp)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX metrics_time ON metrics (timestamp);

   CREATE INDEX goals_completed ON goals (completed_at) WHERE completed_at > 0;
   CREATE INDEX tasks_agent ON tasks (agent);
   CREATE INDEX tool_calls_agent ON tool_calls (agent, timestamp);
   CREATE INDEX tool_calls_tool ON tool_calls (tool_name, timestamp);
   CREATE INDEX decisions_level ON decisions (intelligence_level, timestamp);`;
