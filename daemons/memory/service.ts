import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { type Service, service } from "#lib/service";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { checked, required } from "./check.ts";
import type { Vectors } from "./chroma.ts";
import type { Operational } from "./operational.ts";
import type { Load } from "./snapshot.ts";
import type { Working } from "./working.ts";

export interface Memory {
  readonly operational: Operational;
  readonly working: Working;
  readonly vectors: Vectors;
  readonly load: () => Load;
  /** Names of the models that are loaded now; none when the runtime does not answer. */
  readonly loadedModels: () => Promise<string[]>;
  readonly clock: Clock;
}

/** Events of one answer: as asked, by default, at most. */
const eventsDefault = 100;
const eventsMax = 10_000;

/** Goals of one page: by default, at most. */
const goalsDefault = 50;
const goalsMax = 500;

/** aios.memory.MemoryService: the operational and the working memory. */
export function memoryService({
  operational,
  working,
  load,
  loadedModels,
  clock,
}: Memory): Service<typeof MemoryServiceService> {
  const now = () => clock.now();
  return service(MemoryServiceService, {
    pushEvent: (request) => {
      const filled = { ...request, id: request.id || uuidv7(now()), timestamp: request.timestamp || now() };
      const event = checked("event", filled, now());
      required("event", "category", event.category);
      if (event.critical) working.putEvent(event);
      operational.push(event);
      return {};
    },
    getRecentEvents: ({ count, category, source }) => ({
      events: operational.recent(within("events", count, eventsDefault, eventsMax), category, source),
    }),
    updateMetric: (request) => {
      const metric = checked("metric", { ...request, timestamp: request.timestamp || now() }, now());
      required("metric", "key", metric.key);
      operational.setMetric(metric);
      return {};
    },
    getMetric: ({ key }) => operational.metric(key),
    getSystemSnapshot: async () => {
      const { tasks, agents } = working.activity();
      return {
        ...load(),
        gpuUtilization: 0,
        activeTasks: tasks,
        activeAgents: agents,
        loadedModels: await loadedModels(),
      };
    },
    ...workingCalls(working, now),
  });
}

function workingCalls(working: Working, now: () => number): Service<typeof MemoryServiceService>["handlers"] {
  return {
    storeGoal: (request) => {
      const goal = checked("goal", { ...request, createdAt: request.createdAt || now() }, now());
      required("goal", "id", goal.id);
      required("goal", "status", goal.status);
      working.putGoal(goal);
      return {};
    },
    updateGoal: (request) => {
      const { id, status, result } = checked("goal", request, now());
      required("goal", "status", status);
      working.updateGoal(id, status, result, now());
      return {};
    },
    getActiveGoals: () => ({ goals: working.activeGoals() }),
    storeTask: (request) => {
      const task = checked("task", request, now());
      for (const field of ["id", "goalId", "status"] as const) required("task", field, task[field]);
      working.putTask(task);
      return {};
    },
    getTasksForGoal: ({ goalId }) => ({ tasks: working.tasks(goalId) }),
    storeToolCall: (request) => {
      const call = checked("tool call", { ...request, timestamp: request.timestamp || now() }, now());
      for (const field of ["id", "toolName"] as const) required("tool call", field, call[field]);
      working.putToolCall(call);
      return {};
    },
    storeDecision: (request) => {
      const decision = checked("decision", { ...request, timestamp: request.timestamp || now() }, now());
      for (const field of ["id", "chosen"] as const) required("decision", field, decision[field]);
      working.putDecision(decision);
      return {};
    },
    storeAgentState: (request) => {
      const state = checked("agent state", { ...request, updatedAt: request.updatedAt || now() }, now());
      required("agent state", "agentName", state.agentName);
      working.putAgentState(state);
      return {};
    },
    getAgentState: ({ agentName }) => working.agentState(agentName),
  };
}

/** aios.memory.MemoryQuery: reads that MemoryService lacks. */
export function memoryQueryService({ working, vectors }: Memory): Service<typeof MemoryQueryService> {
  return service(MemoryQueryService, {
    getGoal: ({ goalId }) => working.goal(goalId),
    listGoals: ({ status, limit, cursor }) =>
      working.goals(status, within("goals", limit, goalsDefault, goalsMax), cursor),
    searchStatus: () => {
      const { ready, detail, pid } = vectors.status();
      return { vectorsReady: ready, detail, chromaPid: pid };
    },
  });
}

function within(what: string, asked: number, byDefault: number, most: number): number {
  if (asked >= 0 && asked <= most) return asked || byDefault;
  throw new AiosError("INVALID_ARGUMENT", {
    act: `list ${what}: read`,
    object: "the count asked for",
    reason: `${asked} is not between 0 and ${most}`,
    next: `ask for fewer, or 0 for ${byDefault}`,
  });
}
