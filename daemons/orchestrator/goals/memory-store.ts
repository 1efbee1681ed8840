import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { GoalRecord, MemoryServiceService, TaskRecord } from "#proto/aios/memory";
import type { MemoryQueryService } from "#proto/aios/memory_query";
import {
  type Goal,
  type GoalState,
  goalStates,
  isOver,
  noPlan,
  type Task,
  type TaskState,
  taskStates,
} from "../goal.ts";
import type { JsonObject } from "../json.ts";
import type { Store } from "./store.ts";

/** Goals in one answer of aios-memory. */
const pageSize = 500;

/** aios-memory over its own socket. What its records have no field for is in their JSON. */
export function storeOver(
  memory: Client<typeof MemoryServiceService>,
  query: Client<typeof MemoryQueryService>,
): Store {
  const tasks = async (goalId: string): Promise<Task[]> => {
    try {
      const records = (await memory.getTasksForGoal({ goalId })).tasks;
      return records.map(readTask).toSorted((a, b) => a.index - b.index);
    } catch (error) {
      if (!(error instanceof AiosError) || error.code !== "RESOURCE_EXHAUSTED") throw error;
      throw new AiosError("OUT_OF_RANGE", error.message, { cause: error });
    }
  };
  /** Every goal of one state, newest first. */
  const all = async (status: GoalState): Promise<Goal[]> => {
    const goals: Goal[] = [];
    for (let cursor = ""; ; ) {
      const page = await query.listGoals({ status, limit: pageSize, cursor, offset: 0 });
      goals.push(...page.goals.map(readGoal));
      cursor = page.nextCursor;
      if (cursor === "") return goals;
    }
  };

  return {
    async putGoal(goal) {
      await memory.storeGoal(writeGoal(goal));
    },
    async putTask(task) {
      await memory.storeTask(writeTask(task));
    },
    async unfinished() {
      const open = await Promise.all(goalStates.filter((state) => !isOver(state)).map(all));
      return open.flat().toSorted((a, b) => a.createdAt - b.createdAt);
    },
    tasks,
    async find(id) {
      try {
        const goal = readGoal(await query.getGoal({ goalId: id }));
        return { ...goal, tasks: await tasks(id) };
      } catch (error) {
        if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
        throw error;
      }
    },
    async list(state, limit, { offset, cursor }) {
      const place = cursor === "" ? { offset, cursor } : { offset: 0, cursor };
      const { goals, total, nextCursor } = await query.listGoals({ status: state, limit, ...place });
      return { goals: goals.map(readGoal), total, nextCursor };
    },
  };
}

function writeGoal(goal: Goal): GoalRecord {
  const { source, role, tags, metadata, plan, failure, questions, decisions, dependsOn, dedupeKey } = goal;
  const planning = { plan, failure, questions, decisions };
  return {
    id: goal.id,
    description: goal.description,
    status: goal.state,
    priority: goal.priority,
    createdAt: goal.createdAt,
    completedAt: isOver(goal.state) ? goal.updatedAt : 0,
    result: goal.result,
    metadataJson: toJson({ source, role, tags, metadata, ...planning, depends_on: dependsOn, dedupe_key: dedupeKey }),
  };
}

/** The part of a goal that its record has no field for. */
type GoalJson = Partial<
  Pick<Goal, "source" | "role" | "tags" | "metadata" | "plan" | "failure" | "questions" | "decisions">
> & {
  readonly depends_on?: readonly string[];
  readonly dedupe_key?: string;
};

function readGoal(record: GoalRecord): Goal {
  const more = fromJson(record.metadataJson) as GoalJson;
  return {
    id: record.id,
    description: record.description,
    priority: record.priority,
    source: more.source ?? "",
    role: more.role ?? "",
    tags: more.tags ?? [],
    metadata: more.metadata ?? {},
    createdAt: record.createdAt,
    dependsOn: more.depends_on ?? [],
    dedupeKey: more.dedupe_key ?? "",
    plan: more.plan ?? noPlan,
    failure: more.failure ?? "",
    questions: more.questions ?? [],
    decisions: more.decisions ?? [],
    state: stateIn(goalStates, record.status) as GoalState,
    updatedAt: record.completedAt || record.createdAt,
    result: record.result,
    tasks: [],
  };
}

/** The fields of a task that are kept as JSON beside those of its record. */
function writeTask(task: Task): TaskRecord {
  const { index, step, tool, wantedAgent, template, expect, also, dependsOn, createdAt, input, failures } = task;
  const { tries, waitsFor } = task;
  const more = {
    tool,
    arguments: input,
    index,
    step,
    template,
    expect,
    also,
    depends_on: dependsOn,
    agent: wantedAgent,
  };
  return {
    id: task.id,
    goalId: task.goalId,
    description: task.description,
    agent: task.agent,
    status: task.state,
    inputJson: toJson({ ...more, failures, tries, waits_for: waitsFor, created_at: createdAt }),
    outputJson: task.output === undefined ? Buffer.alloc(0) : toJson(task.output),
    startedAt: task.startedAt,
    completedAt: task.completedAt,
    durationMs: task.completedAt > 0 && task.startedAt > 0 ? task.completedAt - task.startedAt : 0,
    error: task.error,
  };
}

interface TaskJson {
  readonly tool?: string;
  readonly arguments?: JsonObject;
  readonly index?: number;
  readonly step?: string;
  readonly template?: JsonObject;
  readonly expect?: JsonObject;
  readonly also?: readonly string[];
  readonly depends_on?: readonly string[];
  readonly agent?: string;
  readonly failures?: readonly string[];
  readonly tries?: number;
  readonly waits_for?: string;
  readonly created_at?: number;
}

function readTask(record: TaskRecord): Task {
  const more = fromJson(record.inputJson) as TaskJson;
  return {
    id: record.id,
    goalId: record.goalId,
    index: more.index ?? 0,
    step: more.step ?? "",
    description: record.description,
    tool: more.tool ?? "",
    wantedAgent: more.agent ?? "",
    template: more.template ?? {},
    expect: more.expect ?? {},
    also: more.also ?? [],
    dependsOn: more.depends_on ?? [],
    createdAt: more.created_at ?? record.startedAt,
    state: stateIn(taskStates, record.status) as TaskState,
    agent: record.agent,
    input: more.arguments,
    output: record.outputJson.length === 0 ? undefined : (fromJson(record.outputJson) as JsonObject),
    failures: more.failures ?? [],
    tries: more.tries ?? 0,
    waitsFor: more.waits_for ?? "",
    startedAt: record.startedAt,
    completedAt: record.completedAt,
    error: record.error,
  };
}

function stateIn(states: readonly string[], text: string): string {
  if (states.includes(text)) return text;
  throw new AiosError("DATA_LOSS", `read a state from aios-memory: "${text}" is none of ${states.join(", ")}`);
}

function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function fromJson(bytes: Buffer): unknown {
  return bytes.length === 0 ? {} : JSON.parse(bytes.toString("utf8"));
}
