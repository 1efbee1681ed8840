import { errnoOf } from "#lib/errors";
import type { Goal, Task } from "../records.ts";
import { finalStatuses } from "../records.ts";
import {
  type Page,
  pager,
  quoteAll,
  type Store,
  select,
  type Table,
  takeAll,
  unknownError,
  upsert,
} from "../store/index.ts";

interface TaskFilter {
  readonly goalId: string;
  readonly status: string;
  readonly agent: string;
}

/** Goals and their tasks. */
export interface Goals {
  /** Adds a goal, or replaces the one with its id. */
  putGoal(goal: Goal): Promise<void>;
  /** NOT_FOUND when there is no such goal. A final status sets its time of completion. */
  updateGoal(id: string, status: string, result: string, nowMs: number): Promise<void>;
  /** NOT_FOUND when there is no such goal. */
  goal(id: string): Goal;
  /** The goals that are not over, oldest first. */
  activeGoals(): Goal[];
  /** Newest first, `offset` passed over; of one status or (empty) of all. `total`: goals of this status in all. */
  goals(status: string, limit: number, cursor: string, offset?: number): Page<Goal> & { readonly total: number };
  /** Adds a task, or replaces the one with its id. NOT_FOUND when its goal is not stored. */
  putTask(task: Task): Promise<void>;
  /** In the order in which they were added. */
  tasks(goalId: string): Task[];
  /** The last added first. */
  listTasks(filter: TaskFilter, limit: number, cursor: string): Page<Task>;
  /** Tasks that are assigned or in progress, and the agents that have them. */
  activity(): { tasks: number; agents: number };
}

const goalTable: Table = {
  name: "goals",
  columns: ["id", "description", "status", "priority", "created_at", "completed_at", "result", "metadata_json"],
};

const taskTable: Table = {
  name: "tasks",
  columns: [
    ...(["id", "goal_id", "description", "agent", "status", "input_json", "output_json", "started_at"] as const),
    ...["completed_at", "duration_ms", "error"],
  ],
};

export function openGoals({ database, write }: Store): Goals {
  const put = { goal: upsert<Goal>(database, goalTable), task: upsert<Task>(database, taskTable) };
  const finish = database.prepare(
    `UPDATE goals SET status = @status, result = @result,
       completed_at = CASE WHEN @final THEN CASE WHEN completed_at > 0 THEN completed_at ELSE @now END ELSE 0 END
     WHERE id = @id`,
  );
  return {
    ...goalReads(database),
    ...taskReads(database),
    putGoal: (goal) => write(`goal ${goal.id}`, () => put.goal(goal)),
    updateGoal: (id, status, result, now) =>
      write(`goal ${id}`, () => {
        const final = finalStatuses.includes(status) ? 1 : 0;
        if (finish.run({ id, status, result, final, now }).changes === 0) throw unknownError("goal", id);
      }),
    putTask: (task) =>
      write(`task ${task.id}`, () => {
        try {
          put.task(task);
        } catch (error) {
          throw errnoOf(error) === "SQLITE_CONSTRAINT_FOREIGNKEY" ? unknownError("goal", task.goalId) : error;
        }
      }),
  };
}

function goalReads(database: Store["database"]): Pick<Goals, "goal" | "activeGoals" | "goals"> {
  const one = database.prepare<[string], Goal>(`${select(goalTable)} WHERE id = ?`);
  const active = database.prepare<[], Goal>(
    `${select(goalTable)} WHERE status NOT IN (${quoteAll(finalStatuses)}) ORDER BY created_at, id`,
  );
  const page = pager<Goal>(database, { select: select(goalTable), order: ["created_at", "id"], descending: true });
  const total = counter(database);
  return {
    goal(id) {
      const goal = one.get(id);
      if (goal === undefined) throw unknownError("goal", id);
      return goal;
    },
    activeGoals: () => takeAll("active goals", active.iterate()),
    goals: (status, limit, cursor, offset) => ({
      ...page([["status = ?", status]], limit, cursor, offset),
      total: total(status),
    }),
  };
}

/** Counts goals of a status, or (empty) all: again only after something was written, since who turns pages asks each time. */
function counter(database: Store["database"]): (status: string) => number {
  const changes = database.prepare<[], number>("SELECT total_changes()").pluck();
  const all = database.prepare<[], number>("SELECT count(*) FROM goals").pluck();
  const some = database.prepare<[string], number>("SELECT count(*) FROM goals WHERE status = ?").pluck();
  const counted = new Map<string, number>();
  let countedAt: number | undefined;
  return (status) => {
    const now = changes.get();
    if (now !== countedAt) counted.clear();
    countedAt = now;
    const count = counted.get(status) ?? (status === "" ? all.get() : some.get(status)) ?? 0;
    counted.set(status, count);
    return count;
  };
}

function taskReads(database: Store["database"]): Pick<Goals, "tasks" | "listTasks" | "activity"> {
  const ofGoal = database.prepare<[string], Task>(`${select(taskTable)} WHERE goal_id = ? ORDER BY rowid`);
  const activity = database.prepare<[], { tasks: number; agents: number }>(
    "SELECT count(*) AS tasks, count(DISTINCT agent) AS agents FROM tasks WHERE status IN ('assigned', 'in_progress')",
  );
  const page = pager<Task>(database, { select: select(taskTable), order: ["rowid"], descending: true });
  return {
    tasks: (goalId) => takeAll(`tasks of goal ${goalId}`, ofGoal.iterate(goalId)),
    listTasks: ({ goalId, status, agent }, limit, cursor) =>
      page(
        [
          ["goal_id = ?", goalId],
          ["status = ?", status],
          ["agent = ?", agent],
        ],
        limit,
        cursor,
      ),
    activity: () => activity.get() ?? { tasks: 0, agents: 0 },
  };
}
