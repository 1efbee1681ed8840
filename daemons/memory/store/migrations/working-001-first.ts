/** Goals, tasks, tool calls, decisions, agents' states, critical events. */
export const working001 = `CREATE TABLE goals (
   id TEXT PRIMARY KEY, description TEXT NOT NULL, status TEXT NOT NULL, priority INTEGER NOT NULL,
   created_at INTEGER NOT NULL, completed_at INTEGER NOT NULL, result TEXT NOT NULL, metadata_json BLOB NOT NULL
 ) STRICT;
 CREATE INDEX goals_created ON goals (created_at, id);
 CREATE INDEX goals_status ON goals (status, created_at, id);

 CREATE TABLE tasks (
   id TEXT PRIMARY KEY, goal_id TEXT NOT NULL REFERENCES goals (id) ON DELETE CASCADE, description TEXT NOT NULL,
   agent TEXT NOT NULL, status TEXT NOT NULL, input_json BLOB NOT NULL, output_json BLOB NOT NULL,
   started_at INTEGER NOT NULL, completed_at INTEGER NOT NULL, duration_ms INTEGER NOT NULL, error TEXT NOT NULL
 ) STRICT;
 CREATE INDEX tasks_goal ON tasks (goal_id);
 CREATE INDEX tasks_status ON tasks (status, agent);

 CREATE TABLE tool_calls (
   id TEXT PRIMARY KEY, task_id TEXT NOT NULL, tool_name TEXT NOT NULL, agent TEXT NOT NULL, input_json BLOB NOT NULL,
   output_json BLOB NOT NULL, success INTEGER NOT NULL, duration_ms INTEGER NOT NULL, reason TEXT NOT NULL,
   timestamp INTEGER NOT NULL
 ) STRICT;
 CREATE INDEX tool_calls_task ON tool_calls (task_id);
 CREATE INDEX tool_calls_time ON tool_calls (timestamp);

 CREATE TABLE decisions (
   id TEXT PRIMARY KEY, context TEXT NOT NULL, options_json BLOB NOT NULL, chosen TEXT NOT NULL, reasoning TEXT NOT NULL,
   intelligence_level TEXT NOT NULL, model_used TEXT NOT NULL, outcome TEXT NOT NULL, timestamp INTEGER NOT NULL
 ) STRICT;
 CREATE INDEX decisions_time ON decisions (timestamp);

 CREATE TABLE agent_states (
   agent_name TEXT PRIMARY KEY, state_json BLOB NOT NULL, updated_at INTEGER NOT NULL
 ) STRICT;

 CREATE TABLE events (
   id TEXT PRIMARY KEY, timestamp INTEGER NOT NULL, category TEXT NOT NULL, source TEXT NOT NULL, data_json BLOB NOT NULL
 ) STRICT;
 CREATE INDEX events_time ON events (timestamp);`;
