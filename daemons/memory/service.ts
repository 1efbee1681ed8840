import type { Clock } from "#lib/clock";
import { uuidv7 } from "#lib/ids";
import { type Service, service } from "#lib/rpc/service";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { checked, refuse, required } from "./check.ts";
import { within } from "./limits.ts";
import { type Longterm, type SearchTier, searchCalls, searchQueryCalls } from "./longterm/index.ts";
import type { Operational } from "./operational.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Vectors } from "./vectors/index.ts";
import type { Working } from "./working/index.ts";

interface Memory {
  readonly operational: Operational;
  readonly working: Working;
  readonly longterm: Longterm;
  readonly search: SearchTier;
  readonly vectors: Vectors;
  readonly load: () => Snapshot;
  /** Names of the models that are loaded now; none when the runtime does not answer. */
  readonly loadedModels: () => Promise<string[]>;
  readonly clock: Clock;
}

type Handlers = Service<typeof MemoryServiceService>["handlers"];
type Now = () => number;

/** Events of one answer: as asked, by default, at most. */
const eventsDefault = 100;
const eventsMax = 10_000;

/** Records of one page: by default, at most. */
const pageDefault = 50;
const pageMax = 500;

/** An int32 holds no more. */
const offsetMax = 2 ** 31 - 1;

/** aios.memory.MemoryService: what is remembered. */
export function memoryService(memory: Memory): Service<typeof MemoryServiceService> {
  const now = () => memory.clock.now();
  return service(MemoryServiceService, {
    ...operationalCalls(memory, now),
    ...goalCalls(memory.working, now),
    ...deedCalls(memory, now),
    ...patternCalls(memory.working, now),
    ...longtermCalls(memory.longterm, now),
    ...searchCalls(memory),
  });
}

function operationalCalls({ operational, working, load, loadedModels }: Memory, now: Now): Handlers {
  return {
    pushEvent: async (request) => {
      const filled = { ...request, id: request.id || uuidv7(now()), timestamp: request.timestamp || now() };
      const event = checked("event", filled);
      required("event", "category", event.category);
      if (event.critical) await working.putEvent(event);
      operational.push(event);
      return {};
    },
    getRecentEvents: ({ count, category, source }) => ({
      events: operational.recent(within("events", count, eventsDefault, eventsMax), category, source),
    }),
    updateMetric: (request) => {
      const metric = checked("metric", { ...request, timestamp: request.timestamp || now() });
      required("metric", "key", metric.key);
      operational.setMetric(metric);
      working.metrics.note(metric);
      return {};
    },
    getMetric: ({ key }) => operational.metric(key),
    getSystemSnapshot: async () => {
      const { tasks, agents } = working.activity();
      return { ...load(), activeTasks: tasks, activeAgents: agents, loadedModels: await loadedModels() };
    },
  };
}

function goalCalls(working: Working, now: Now): Handlers {
  return {
    storeGoal: async (request) => {
      const goal = checked("goal", { ...request, createdAt: request.createdAt || now() });
      for (const field of ["id", "status"] as const) required("goal", field, goal[field]);
      await working.putGoal(goal);
      return {};
    },
    updateGoal: async (request) => {
      const { id, status, result } = checked("goal", request);
      required("goal", "status", status);
      await working.updateGoal(id, status, result, now());
      return {};
    },
    getActiveGoals: () => ({ goals: working.activeGoals() }),
    storeTask: async (request) => {
      const task = checked("task", request);
      for (const field of ["id", "goalId", "status"] as const) required("task", field, task[field]);
      await working.putTask(task);
      return {};
    },
    getTasksForGoal: ({ goalId }) => ({ tasks: working.tasks(goalId) }),
  };
}

function deedCalls({ working, longterm }: Memory, now: Now): Handlers {
  return {
    storeToolCall: async (request) => {
      const call = checked("tool call", { ...request, timestamp: request.timestamp || now() });
      for (const field of ["id", "toolName"] as const) required("tool call", field, call[field]);
      await working.putToolCall(call);
      return {};
    },
    storeDecision: async (request) => {
      const decision = checked("decision", { ...request, timestamp: request.timestamp || now() });
      for (const field of ["id", "chosen"] as const) required("decision", field, decision[field]);
      await Promise.all([working.putDecision(decision), longterm.putDecision(decision)]);
      return {};
    },
    storeAgentState: async (request) => {
      const state = checked("agent state", { ...request, updatedAt: request.updatedAt || now() });
      required("agent state", "agentName", state.agentName);
      await working.putAgentState(state);
      return {};
    },
    getAgentState: ({ agentName }) => working.agentState(agentName),
  };
}

function patternCalls(working: Working, now: Now): Handlers {
  return {
    storePattern: async (request) => {
      const pattern = checked("pattern", request);
      for (const field of ["id", "trigger", "action"] as const) required("pattern", field, pattern[field]);
      share("pattern", "successRate", pattern.successRate);
      if (pattern.uses < 0) refuse("pattern", "uses", `${pattern.uses} is negative`);
      await working.putPattern(pattern);
      return {};
    },
    findPattern: ({ trigger, minSuccessRate }) => {
      required("pattern", "trigger", trigger);
      share("pattern", "minSuccessRate", minSuccessRate);
      const pattern = working.findPattern(trigger, minSuccessRate);
      return { pattern, found: pattern !== undefined };
    },
    updatePatternStats: async ({ id, success }) => {
      required("pattern", "id", id);
      await working.countUse(id, success, now());
      return {};
    },
  };
}

function longtermCalls(longterm: Longterm, now: Now): Handlers {
  return {
    storeProcedure: async (request) => {
      const procedure = checked("procedure", { ...request, createdAt: request.createdAt || now() });
      for (const field of ["id", "name"] as const) required("procedure", field, procedure[field]);
      for (const field of ["successCount", "failCount"] as const)
        if (procedure[field] < 0) refuse("procedure", field, `${procedure[field]} is negative`);
      await longterm.putProcedure(procedure);
      return {};
    },
    storeIncident: async (request) => {
      const incident = checked("incident", { ...request, timestamp: request.timestamp || now() });
      for (const field of ["id", "description"] as const) required("incident", field, incident[field]);
      await longterm.putIncident(incident);
      return {};
    },
    storeConfigChange: async (request) => {
      const change = checked("configuration change", { ...request, timestamp: request.timestamp || now() });
      for (const field of ["id", "filePath"] as const) required("configuration change", field, change[field]);
      await longterm.putConfigChange(change);
      return {};
    },
  };
}

/** aios.memory.MemoryQuery: reads that MemoryService lacks. */
export function memoryQueryService(memory: Memory): Service<typeof MemoryQueryService> {
  const { operational, working, longterm } = memory;
  const filtered = <F extends object>(filter: F) => checked("filter", filter);
  const page = (limit: number) => within("records", limit, pageDefault, pageMax);
  return service(MemoryQueryService, {
    getGoal: ({ goalId }) => working.goal(goalId),
    listGoals: ({ status, limit, cursor, offset }) => {
      const count = within("goals", limit, pageDefault, pageMax);
      const { rows, nextCursor, total } = working.goals(
        status,
        count,
        cursor,
        within("goals passed over", offset, 0, offsetMax),
      );
      return { goals: rows, nextCursor, total };
    },
    ...searchQueryCalls(memory),
    watchEvents: ({ category, source, recent }, { signal }) =>
      operational.watch(recent === 0 ? 0 : within("events", recent, 0, eventsMax), category, source, signal),
    getMetricHistory: ({ limit, cursor, ...filter }) => {
      const { key, since, until } = filtered(filter);
      required("metric", "key", key);
      const count = within("values", limit, 500, eventsMax);
      const { rows, nextCursor } = working.metrics.values(key, since, until, count, cursor);
      return { values: rows, nextCursor };
    },
    listProcedures: ({ limit, cursor }) => {
      const { rows, nextCursor } = longterm.procedures(page(limit), cursor);
      return { procedures: rows.map(({ tags, ...row }) => ({ ...row, tags: [...tags] })), nextCursor };
    },
    listTasks: ({ limit, cursor, ...filter }) => {
      const { rows, nextCursor } = working.listTasks(filtered(filter), page(limit), cursor);
      return { tasks: rows, nextCursor };
    },
    listToolCalls: ({ limit, cursor, ...filter }) => {
      const { rows, nextCursor } = working.toolCalls(filtered(filter), page(limit), cursor);
      return { toolCalls: rows, nextCursor };
    },
    listDecisions: ({ limit, cursor, ...filter }) => {
      const { rows, nextCursor } = working.decisions(filtered(filter), page(limit), cursor);
      return { decisions: rows, nextCursor };
    },
    listPatterns: ({ createdFrom, limit, cursor }) => {
      const { rows, nextCursor } = working.patterns(createdFrom, page(limit), cursor);
      return { patterns: rows, nextCursor };
    },
    listAgentStates: ({ limit, cursor }) => {
      const { rows, nextCursor } = working.agentStates(page(limit), cursor);
      return { states: rows, nextCursor };
    },
    setDecisionOutcome: async ({ id, outcome }) => {
      const decision = await working.setOutcome(id, checked("decision", { outcome }).outcome);
      await longterm.putDecision(decision);
      return {};
    },
  });
}

function share(what: string, field: string, value: number): void {
  if (!(value >= 0 && value <= 1)) refuse(what, field, `${value} is not between 0 and 1`);
}
