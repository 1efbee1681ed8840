import { AiosError, errnoOf } from "#lib/errors";
import { openDatabase, type Sqlite } from "#lib/sqlite";
import { migrations } from "./migrations.ts";
import type { AgentState, Decision, Event, Goal, Task, ToolCall } from "./records.ts";
import { answerBytesMax, finalStatuses, sizeBytes } from "./records.ts";

export interface GoalPage {
  readonly goals: Goal[];
  /** Asks for the page after this one; empty when there is none. */
  readonly nextCursor: string;
  /** Goals of this status in all. */
  readonly total: number;
}

/** The working memory: SQLite, synchronous. What has been put is on the disk when the call returns. */
export interface Working {
  /** Adds a goal, or replaces the one with its id. */
  putGoal(goal: Goal): void;
  /** NOT_FOUND when there is no such goal. A final status sets its time of completion. */
  updateGoal(id: string, status: string, result: string, nowMs: number): void;
  /** NOT_FOUND when there is no such goal. */
  goal(id: string): Goal;
  /** The goals that are not over, oldest first. */
  activeGoals(): Goal[];
  /** Newest first; of one status or (empty) of all. */
  goals(status: string, limit: number, cursor: string): GoalPage;
  /** Adds a task, or replaces the one with its id. NOT_FOUND when its goal is not stored. */
  putTask(task: Task): void;
  /** In the order in which they were added. */
  tasks(goalId: string): Task[];
  /** Tasks that are assigned or in progress, and the agents that have them. */
  activity(): { tasks: number; agents: number };
  putToolCall(call: ToolCall): void;
  putDecision(decision: Decision): void;
  putAgentState(state: AgentState): void;
  /** NOT_FOUND when the agent has stored none. */
  agentState(agentName: string): AgentState;
  putEvent(event: Event): void;
  /** Events since `fromMs`, oldest first, at most `count`, the newest. */
  events(fromMs: number, count: number): Event[];
  /** Deletes one batch of what is past its time; returns how many rows that were. */
  prune(nowMs: number): number;
  close(): void;
}

const columns = {
  goals: ["id", "description", "status", "priority", "created_at", "completed_at", "result", "metadata_json"],
  tasks: [
    ...["id", "goal_id", "description", "agent", "status", "input_json", "output_json", "started_at", "completed_at"],
    ...["duration_ms", "error"],
  ],
  tool_calls: [
    ...["id", "task_id", "tool_name", "agent", "input_json", "output_json", "success", "duration_ms", "reason"],
    "timestamp",
  ],
  decisions: [
    ...["id", "context", "options_json", "chosen", "reasoning", "intelligence_level", "model_used", "outcome"],
    "timestamp",
  ],
  agent_states: ["agent_name", "state_json", "updated_at"],
  events: ["id", "timestamp", "category", "source", "data_json"],
} as const;

type Table = keyof typeof columns;

const dayMs = 86_400_000;

/** How long what is over is kept. */
const retention: readonly { readonly table: Table; readonly where: string; readonly days: number }[] = [
  { table: "goals", where: `completed_at > 0 AND completed_at < ? AND status IN (${quoted(finalStatuses)})`, days: 90 },
  { table: "tool_calls", where: "timestamp < ?", days: 30 },
  { table: "decisions", where: "timestamp < ?", days: 30 },
  { table: "events", where: "timestamp < ?", days: 30 },
];

/** Rows deleted in one transaction: a longer one would hold up the calls. */
const pruneRowsMax = 200;

/** Opens the working store in the file `path`; `limit` may set SQLite's own limits on it. */
export function openWorking(path: string, limit: (database: Sqlite) => void = () => {}): Working {
  const database = openDatabase(path, migrations);
  limit(database);
  const put = {
    goal: upsert<Goal>(database, "goals"),
    task: upsert<Task>(database, "tasks"),
    toolCall: upsert<ToolCall>(database, "tool_calls"),
    decision: upsert<Decision>(database, "decisions"),
    agentState: upsert<AgentState>(database, "agent_states"),
    event: upsert<Event>(database, "events"),
  };
  const goals = goalReads(database);
  const finish = database.prepare(
    `UPDATE goals SET status = @status, result = @result,
       completed_at = CASE WHEN @final THEN CASE WHEN completed_at > 0 THEN completed_at ELSE @now END ELSE 0 END
     WHERE id = @id`,
  );
  const tasks = database.prepare<[string], Task>(`${select("tasks")} WHERE goal_id = ? ORDER BY rowid`);
  const activity = database.prepare<[], { tasks: number; agents: number }>(
    "SELECT count(*) AS tasks, count(DISTINCT agent) AS agents FROM tasks WHERE status IN ('assigned', 'in_progress')",
  );
  const agentState = database.prepare<[string], AgentState>(`${select("agent_states")} WHERE agent_name = ?`);
  const events = database.prepare<[number, number], Omit<Event, "critical">>(
    `${select("events")} WHERE timestamp >= ? ORDER BY timestamp DESC LIMIT ?`,
  );
  const prunes = retention.map(({ table, where, days }) => ({
    statement: database.prepare<[number]>(
      `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE ${where} LIMIT ${pruneRowsMax})`,
    ),
    ageMs: days * dayMs,
  }));

  return {
    ...goals,
    putGoal: put.goal,
    updateGoal(id, status, result, now) {
      const final = finalStatuses.includes(status) ? 1 : 0;
      const { changes } = writing(`goal ${id}`, () => finish.run({ id, status, result, final, now }));
      if (changes === 0) throw unknown("goal", id);
    },
    putTask(task) {
      try {
        put.task(task);
      } catch (error) {
        if (errnoOf(error) === "SQLITE_CONSTRAINT_FOREIGNKEY") throw unknown("goal", task.goalId);
        throw error;
      }
    },
    tasks: (goalId) => bounded(`tasks of goal ${goalId}`, tasks.all(goalId)),
    activity: () => activity.get() ?? { tasks: 0, agents: 0 },
    putToolCall: put.toolCall,
    putDecision: put.decision,
    putAgentState: put.agentState,
    agentState(agentName) {
      const state = agentState.get(agentName);
      if (state === undefined) throw unknown("state of agent", agentName);
      return state;
    },
    putEvent: put.event,
    events: (from, count) =>
      events
        .all(from, count)
        .reverse()
        .map((event) => ({ ...event, critical: true })),
    prune: (now) => prunes.reduce((rows, { statement, ageMs }) => rows + statement.run(now - ageMs).changes, 0),
    close: () => void database.close(),
  };
}

function goalReads(database: Sqlite): Pick<Working, "goal" | "activeGoals" | "goals"> {
  const one = database.prepare<[string], Goal>(`${select("goals")} WHERE id = ?`);
  const active = database.prepare<[], Goal>(
    `${select("goals")} WHERE status NOT IN (${quoted(finalStatuses)}) ORDER BY created_at, id`,
  );
  const page = database.prepare<{ status: string; before: number; id: string; limit: number }, Goal>(
    `${select("goals")} WHERE (@status = '' OR status = @status) AND (created_at, id) < (@before, @id)
     ORDER BY created_at DESC, id DESC LIMIT @limit`,
  );
  const total = database.prepare<{ status: string }, { total: number }>(
    "SELECT count(*) AS total FROM goals WHERE @status = '' OR status = @status",
  );
  return {
    goal(id) {
      const goal = one.get(id);
      if (goal === undefined) throw unknown("goal", id);
      return goal;
    },
    activeGoals: () => bounded("active goals", active.all()),
    goals(status, limit, cursor) {
      const found = page.all({ status, limit: limit + 1, ...position(cursor) });
      const goals = fitting(found.slice(0, limit));
      const last = goals.at(-1);
      const nextCursor = last !== undefined && goals.length < found.length ? cursorAfter(last) : "";
      return { goals, nextCursor, total: total.get({ status })?.total ?? 0 };
    },
  };
}

/** A statement that adds a row or replaces the one with its key, which is the table's first column. */
function upsert<R extends object>(database: Sqlite, table: Table): (record: R) => void {
  const [key, ...others] = columns[table];
  const statement = database.prepare(
    `INSERT INTO ${table} (${columns[table].join(", ")}) VALUES (${columns[table].map((name) => `@${camel(name)}`).join(", ")})
     ON CONFLICT (${key}) DO UPDATE SET ${others.map((name) => `${name} = excluded.${name}`).join(", ")}`,
  );
  return (record) => {
    const row = Object.entries(record).map(([name, value]) => [
      name,
      typeof value === "boolean" ? Number(value) : value,
    ]);
    writing(table, () => statement.run(Object.fromEntries(row)));
  };
}

/** Runs a write; a full disk is the caller's to know. */
function writing<T>(what: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (errnoOf(error) !== "SQLITE_FULL") throw error;
    throw new AiosError(
      "RESOURCE_EXHAUSTED",
      { act: "store", object: what, reason: "the data partition is full", next: "free space; reads go on meanwhile" },
      { cause: error },
    );
  }
}

function select(table: Table): string {
  return `SELECT ${columns[table].map((name) => `${name} AS ${camel(name)}`).join(", ")} FROM ${table}`;
}

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

function quoted(texts: readonly string[]): string {
  return texts.map((text) => `'${text}'`).join(", ");
}

/** As many records, from the first on, as one answer holds; at least one. */
function fitting<R extends object>(records: readonly R[]): R[] {
  let bytes = 0;
  const end = records.findIndex((record, at) => {
    bytes += sizeBytes(record);
    return at > 0 && bytes > answerBytesMax;
  });
  return end === -1 ? [...records] : records.slice(0, end);
}

function bounded<R extends object>(what: string, records: R[]): R[] {
  if (fitting(records).length === records.length) return records;
  throw new AiosError("RESOURCE_EXHAUSTED", {
    act: "read",
    object: what,
    reason: `${records.length} records are more than the ${answerBytesMax} bytes that one answer holds`,
    next: "read them one by one or by page",
  });
}

/** A page's cursor is the creation time and id of the last goal before it. */
function cursorAfter({ createdAt, id }: Goal): string {
  return Buffer.from(JSON.stringify([createdAt, id])).toString("base64url");
}

function position(cursor: string): { before: number; id: string } {
  if (cursor === "") return { before: Number.MAX_SAFE_INTEGER, id: "" };
  try {
    const [before, id] = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) as unknown[];
    if (typeof before === "number" && typeof id === "string") return { before, id };
  } catch {
    // Refused below, with what to do.
  }
  throw new AiosError("INVALID_ARGUMENT", {
    act: "list goals from",
    object: `cursor "${cursor.slice(0, 64)}"`,
    reason: "it is not one of ours",
    next: "send next_cursor of the page before, or nothing",
  });
}

function unknown(what: string, id: string): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "find",
    object: `${what} ${id}`,
    reason: "nothing is stored under this name",
  });
}
