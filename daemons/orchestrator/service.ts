import { AiosError } from "#lib/errors";
import { type Load, uptimeSeconds } from "#lib/linux/proc";
import { executionHeader, headerOf, type Identity, type Service, service } from "#lib/rpc/service";
import { type AgentRegistration, Task as TaskType } from "#proto/aios/common";
import { OrchestratorService } from "#proto/aios/orchestrator";
import type { Agent, Agents, Assignments, GroupOf } from "./agents/index.ts";
import { type Goal, type GoalState, goalStates, phaseOf, progressOf } from "./goal.ts";
import type { Goals, Undo } from "./goals/index.ts";
import type { Further } from "./initiative/index.ts";
import {
  furtherCalls,
  goalMessage,
  handoutMessage,
  nameOf,
  ownGoal,
  refusal,
  roleOf,
  taskMessage,
} from "./services/index.ts";

/** Longest wait of an agent that asks for a task. */
const pollMaxMs = 20_000;

const listLimitDefault = 50;
const listLimitMax = 500;

interface Orchestrator {
  readonly goals: Goals;
  readonly agents: Agents;
  readonly assignments: Assignments;
  readonly further: Further;
  /** Commands to the agent, told by each beat: "duties" while it is on duty. */
  commandsFor(agent: string, signal: AbortSignal): Promise<string[]>;
  readonly groupOf: GroupOf;
  /** Why an agent's duties rest; empty when they do not. */
  restOf(agent: string): string;
  /** How what a cancelled goal did can be taken back. */
  undoOf(goal: Goal): Promise<Undo>;
  load(): Load;
  /** Names of the models that are loaded; none when the runtime does not answer. */
  loadedModels(): Promise<string[]>;
}

/** aios.orchestrator.Orchestrator. Who calls is told by the call; what a message says of it must agree. */
export function orchestratorService(orchestrator: Orchestrator): Service<typeof OrchestratorService> {
  const { goals, agents, assignments, further } = orchestrator;
  return service(OrchestratorService, {
    ...furtherCalls(goals, assignments, further),
    submitGoal: async (request, { identity, metadata: headers }) => {
      const { description, priority, tags, metadataJson, dependsOn, dedupeKey } = request;
      const metadata = text(metadataJson, "metadata_json");
      if (identity.kind === "agent") further.usage.count(identity.name);
      further.autonomy.permit(identity.kind === "agent" ? "machine" : "person");
      const source = sourceOf(identity, request.source);
      const role = roleOf(identity);
      const id = headerOf(headers, executionHeader);
      return {
        id: await goals.submit({ id, description, priority, tags, metadata, source, role, dependsOn, dedupeKey }),
      };
    },
    getGoalStatus: async ({ id }, { identity }) => {
      const goal = await ownGoal(goals, id, identity);
      const tasks = goal.tasks.map((task) => taskMessage(goal, task));
      return { goal: goalMessage(goal), tasks, currentPhase: phaseOf(goal), progressPercent: progressOf(goal) };
    },
    listGoals: async ({ statusFilter, limit, offset, cursor }, { identity }) => {
      if (identity.kind === "agent") throw refusal(identity, "list goals");
      const state = checkList(statusFilter, limit, offset);
      const page = await goals.list(state, limit || listLimitDefault, { offset, cursor });
      return { goals: page.goals.map(goalMessage), total: page.total, nextCursor: page.nextCursor };
    },
    cancelGoal: async ({ id }, { identity }) => {
      await ownGoal(goals, id, identity);
      await goals.cancel(id, nameOf(identity));
      const { words, executionIds } = await orchestrator.undoOf(await goals.find(id));
      const message = [`goal ${id} is cancelled`, words].filter((line) => line !== "").join("\n");
      return { success: true, message, executionIds: [...executionIds] };
    },
    registerAgent: ({ agentId }, { identity }) => {
      agents.register(ownName(identity, agentId, "register agent"));
      return { success: true, message: "registered" };
    },
    unregisterAgent: ({ id }, { identity }) => {
      agents.unregister(ownName(identity, id, "unregister agent"));
      return { success: true, message: "unregistered" };
    },
    heartbeat: async ({ agentId }, { identity, signal }) => {
      const known = agents.beat(ownName(identity, agentId, "beat for agent"));
      const pendingCommands = known ? await orchestrator.commandsFor(agentId, signal) : ["register"];
      // It was heard of as long as it waited for the answer.
      if (known && !signal.aborted) agents.beat(agentId);
      return { success: known, message: known ? "" : "not registered", pendingCommands };
    },
    listAgents: () => ({ agents: agents.list().map((agent) => agentMessage(agent, orchestrator)) }),
    getSystemStatus: async () => {
      const live = agents.list().filter(({ status }) => status === "idle" || status === "active");
      const loadedModels = await orchestrator.loadedModels();
      const { level, stop } = further.autonomy;
      const autonomyLevel = stop === undefined ? level : `${level} (stopped)`;
      return {
        ...goals.counts(),
        ...orchestrator.load(),
        uptimeSeconds: uptimeSeconds("/proc"),
        activeAgents: live.length,
        loadedModels,
        autonomyLevel,
      };
    },
    getAssignedTask: async ({ id }, call) => {
      const agent = ownName(call.identity, id, "fetch a task for agent");
      if (!agents.beat(agent)) throw unregisteredError(agent);
      const handout = await assignments.next(agent, pollMaxMs, call.signal);
      return handout === undefined ? TaskType.create() : handoutMessage(handout, agent);
    },
    reportTaskResult: async (result, { identity }) => {
      if (identity.kind !== "agent") throw refusal(identity, "report task results");
      const { taskId, success, error, errorCode } = result;
      await assignments.report(identity.name, {
        taskId,
        success,
        output: text(result.outputJson, "output_json"),
        error,
        errorCode,
      });
      return { success: true, message: "recorded" };
    },
  });
}

function agentMessage(agent: Agent, { groupOf, restOf }: Orchestrator): AgentRegistration {
  const { name, type, namespaces, status, registeredAt, memoryMiB } = agent;
  const group = groupOf(name);
  const rest = restOf(name);
  return {
    ...{ agentId: name, agentType: type, capabilities: [], toolNamespaces: [...namespaces], status, registeredAt },
    ...{ memoryBytes: group.chargedBytes(), memoryMaxBytes: memoryMiB * 1024 * 1024, cpuMs: group.cpuMs() },
    reason: agent.reason || (rest && `its duties rest: ${rest}`),
  };
}

/** The giver of a goal. An agent's claim must be true; the claim of others is allowed and not believed. */
function sourceOf(identity: Identity, said: string): string {
  if (identity.kind === "agent" && said !== "" && said !== identity.name && said !== nameOf(identity)) {
    throw new AiosError("PERMISSION_DENIED", `submit a goal as ${said}: the caller is ${nameOf(identity)}`);
  }
  return nameOf(identity);
}

/** The agent that calls, which the message must not contradict. */
function ownName(identity: Identity, said: string, act: string): string {
  if (identity.kind !== "agent") throw refusal(identity, `${act} ${said}`);
  if (said === identity.name) return said;
  throw new AiosError("PERMISSION_DENIED", {
    act,
    object: said,
    reason: `the call came through the socket of agent ${identity.name}`,
    next: "an agent acts as itself only",
  });
}

function unregisteredError(agent: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "fetch a task for agent",
    object: agent,
    reason: "it is not registered, or no longer",
    next: "call RegisterAgent",
  });
}

function checkList(state: string, limit: number, offset: number): GoalState | "" {
  if (limit < 0 || limit > listLimitMax) throw outside("limit", limit, `0 (${listLimitDefault}) to ${listLimitMax}`);
  if (offset < 0) throw outside("offset", offset, "0 or more");
  if (state === "" || (goalStates as readonly string[]).includes(state)) return state as GoalState | "";
  throw new AiosError("INVALID_ARGUMENT", `list goals: status_filter: "${state}" is none of ${goalStates.join(", ")}`);
}

function outside(field: string, value: number, expected: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", `list goals: ${field}: ${value}, expected ${expected}`);
}

/** Bytes that must be UTF-8. */
function text(bytes: Buffer, field: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new AiosError("INVALID_ARGUMENT", `read ${field}: it is not UTF-8`);
  }
}
