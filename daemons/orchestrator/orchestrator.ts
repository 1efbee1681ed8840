import { timeoutSignal } from "#lib/clock";
import { approvalMostMs } from "#lib/config/duration";
import { effectiveConfig } from "#lib/config/effective";
import type { Daemon } from "#lib/daemon";
import { loadReader } from "#lib/linux/proc";
import { connect, outlivesRestart } from "#lib/rpc/client";
import type { ServiceDefinition } from "#lib/rpc/service";
import { ApiGatewayService } from "#proto/aios/api_gateway";
import { HoldingService } from "#proto/aios/holding";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ToolRegistryService } from "#proto/aios/tools";
import {
  agentGroups,
  agentProgram,
  agentSpawner,
  loadedModels,
  openAgents,
  openAssignments,
  type ProcessState,
  readAgents,
  superviseAgents,
  taskCanceller,
} from "./agents/index.ts";
import { whenAsked } from "./declarations.ts";
import type { Goal } from "./goal.ts";
import { inTurn, openChanges, openGoals, storeOver, undoOf } from "./goals/index.ts";
import { holdOver, openInitiative } from "./initiative/index.ts";
import { patiently } from "./patience.ts";
import {
  contextOver,
  decisionStore,
  gatewayThinker,
  openDecisionLog,
  planCheck,
  plannerOver,
  planSources,
  runtimeThinker,
} from "./plans/index.ts";
import { learnedOver, openLearning } from "./plans/learned/index.ts";
import { readProcedures } from "./plans/procedures/index.ts";
import { knownGoals } from "./services/index.ts";
import { openTalks } from "./sessions/index.ts";
import type { Tools } from "./tools.ts";
import { toolsOver } from "./tools-client.ts";

/*
 * goal: what somebody wants of the machine, in words. plan: the steps to it, and why these. task: a step of a goal's plan, one call
 * of one tool. try: one time that a task is made, under an execution id of its own. place: room at an agent for one task. grant: what
 * an agent is let do, for a task or a time. duty: what an agent does by itself. notice: what somebody noticed. trigger: the goal that
 * a notice is a reason for. schedule: a goal that is given at a time. session: a conversation with an agent. run: what follows one
 * thing that is said in it. branch: one line of its events.
 */

/** Longest wait of a plan's check for aios-tools. */
const checkTimeoutMs = 30_000;

/** At most this many calls to aios-memory about goals at once: as many as it commits together at ease. */
const storeTogetherMax = 64;

/** At the end the agents' standing grants are taken back, or end by their time. */
const endGraceMs = 500;

interface OrchestratorParts extends Daemon {
  /** The process's own: agents are given a part of it. */
  readonly env: NodeJS.ProcessEnv;
}

/** Whom the agents' processes and the goals tell what befalls them. */
interface Hearers {
  agentEnded(agent: string, state: ProcessState, why: string): void;
  goalWaits(goal: Goal, forWhat: string): void;
}

/** Opens the agents, goals and plans of this machine, and what it does by itself; `resume` begins them. */
export function openOrchestrator(parts: OrchestratorParts) {
  const { paths, clock, log, address } = parts;
  const end = new AbortController();
  // Before it is known who does, nobody holds anything that would have to be taken back.
  let hearers: Hearers = { agentEnded: () => {}, goalWaits: () => {} };
  // First of all: eight processes that start are most of what there is to wait for.
  const staff = startAgents(parts, end.signal, (...told) => hearers.agentEnded(...told));
  const { configured, agents, assignments, groupOf, freeze } = staff;
  const peers = connectPeers(parts);
  const tools = toolsOver(peers.registry, clock);
  const planning = openPlanning(parts, { configured, agents, peers, tools }, end.signal);
  const { declared, learning, decisions, thinking, sources } = planning;
  const goals = openGoals({
    ...{ tools, agents, assignments, clock, log, random: Math.random },
    ...{ planner: planning.planner, mayName: planning.mayName, changes: openChanges() },
    store: inTurn(storeOver(peers.remember, peers.recall), storeTogetherMax),
    decided: decisions.decided,
    waits: (goal, forWhat) => hearers.goalWaits(goal, forWhat),
    ended(goal) {
      decisions.ended(goal);
      learning.ended(goal);
    },
  });
  const folder = `${paths.state}/orchestrator`;
  const initiative = openInitiative({
    ...{ paths, folder, goals, clock, log, agents: configured, groupOf, freezeAgents: freeze, ...peers },
    // What was noticed is told to triggers in any case: it does not wait for memory.
    memory: connect(MemoryServiceService, address("memory")),
    configured: effectiveConfig(paths.run).system.autonomy_level,
    initAddress: address("init"),
    hold: holdOver(connect(HoldingService, address("tools")), clock),
  });
  hearers = initiative;
  const { further, standing, heldBack, duties } = initiative;
  const talks = openTalks({
    ...{ goals, agents, assignments, tools, registry: peers.registry, sources, clock, log, folder },
    ...{ ...thinking, configured, connectJournal: peers.connectMemory, autonomy: further.autonomy },
  });
  return {
    ...{ goals, agents, assignments, further, groupOf, restOf: standing.restOf, duties, talks, tools },
    commandsFor: async (agent: string, signal: AbortSignal) =>
      (await standing.onDuty(agent, signal)) ? ["duties"] : [],
    undoOf: (goal: Goal) => undoOf(goal, tools),
    load: loadReader("/proc", clock).read,
    loadedModels: loadedModels(peers.runtime),
    known: () => knownGoals(declared().procedures, learning),
    autonomy: { autonomy: further.autonomy, goals, resting: standing.resting, heldBack },
    async resume() {
      await goals.resume();
      // A goal that comes before the machine is up reads the procedures itself.
      initiative.begin(end.signal, declared);
      talks.begin();
    },
    /** Answers every agent that waits for an answer: they would hold up the end. */
    letGo() {
      assignments.end();
      standing.end();
    },
    async close() {
      end.abort();
      await Promise.race([standing.halt(), clock.sleep(endGraceMs)]);
      await Promise.all([goals.end(), staff.end()]);
    },
  };
}

/** Starts the configured agents, and keeps them running until the end. `ended` hears of each change of a process. */
function startAgents({ paths, log, clock, env }: OrchestratorParts, signal: AbortSignal, ended: Hearers["agentEnded"]) {
  const { agents: configured, faults } = readAgents(`${paths.etc}/agents`);
  for (const fault of faults) log.error(unusable, { fault });
  const assignments = openAssignments(taskCanceller(`${paths.run}/agents`, log), approvalMostMs);
  const agents = openAgents(configured, clock, {
    lost: assignments.lose,
    hung: (agent, reason) => supervision.replace(agent, reason),
  });
  const groupOf = agentGroups(env["AIOS_GROUP"], configured, { clock, log });
  const spawnAgent = agentSpawner(agentProgram(env, { paths, groupOf, log }));
  const around = { clock, log, random: Math.random };
  const supervision = superviseAgents(configured, spawnAgent, around, (agent, state, why) => {
    agents.processChanged(agent, state, why);
    ended(agent, state, why);
  });
  let frozen = false;
  agents.sweep(signal, () => frozen);
  return {
    ...{ configured, agents, assignments, groupOf, end: supervision.end },
    freeze(now: boolean) {
      frozen = now;
      for (const { name } of configured) groupOf(name).freeze(now);
    },
  };
}

/** The daemons that the orchestrator calls. */
function connectPeers({ address }: OrchestratorParts) {
  const connectMemory = <S extends ServiceDefinition>(definition: S) =>
    connect(definition, address("memory"), undefined, outlivesRestart);
  return {
    connectMemory,
    remember: connectMemory(MemoryServiceService),
    recall: connectMemory(MemoryQueryService),
    registry: connect(ToolRegistryService, address("tools")),
    runtime: connect(AIRuntimeService, address("runtime")),
    gateway: connect(ApiGatewayService, address("gateway")),
  };
}

interface PlanningGround extends Pick<ReturnType<typeof startAgents>, "configured" | "agents"> {
  readonly peers: ReturnType<typeof connectPeers>;
  readonly tools: Tools;
}

/** The makers of plans: procedures of the image, procedures that were learned here, and models. */
function openPlanning(
  { paths, clock, log }: OrchestratorParts,
  { configured, agents, peers, tools }: PlanningGround,
  signal: AbortSignal,
) {
  const { remember, recall, runtime, gateway } = peers;
  const declared = whenAsked(
    () => readProcedures(`${paths.etc}/procedures`),
    (fault) => log.error(unusable, { fault }),
  );
  const mayName = effectiveConfig(paths.run).planning?.may_name ?? [];
  const check = planCheck({
    // While aios-tools is away a plan is not wrong.
    find: (tool) => patiently(clock, timeoutSignal(checkTimeoutMs), () => tools.find(tool)),
    covers: (namespace, agent) => agents.covers({ namespace, agent, priority: 0 }),
    allowed: mayName,
  });
  const learning = openLearning(learnedOver(remember, recall), declared, { clock, log }, signal);
  const thinking = {
    context: contextOver(remember),
    thinkers: [runtimeThinker(runtime, "operational"), runtimeThinker(runtime, "tactical"), gatewayThinker(gateway)],
  };
  const sources = planSources({ declared, learning, tools, agents, configured, clock, ...thinking });
  return {
    ...{ declared, learning, mayName, thinking, sources, planner: plannerOver(sources, check) },
    decisions: openDecisionLog(decisionStore(remember), { clock, log }, signal),
  };
}

const unusable = "a file cannot be used";
