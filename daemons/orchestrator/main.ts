import { timeoutSignal } from "#lib/clock";
import { approvalMostMs } from "#lib/config/duration";
import { effectiveConfig } from "#lib/config/effective";
import { runDaemon } from "#lib/daemon";
import { AiosError } from "#lib/errors";
import type { Confinement } from "#lib/linux/confinement";
import { connect, outlivesRestart } from "#lib/rpc/client";
import type { ServiceDefinition } from "#lib/rpc/service";
import { layout, users } from "#manifest";
import { ApiGatewayService } from "#proto/aios/api_gateway";
import { HoldingService } from "#proto/aios/holding";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ToolRegistryService } from "#proto/aios/tools";
import { held } from "#reach";
import { readAgents } from "./agents/agent-config.ts";
import { agentGroups } from "./agents/agent-groups.ts";
import { agentSpawner, type ProcessState, superviseAgents } from "./agents/agent-processes.ts";
import { openAgents } from "./agents/agents.ts";
import { openAssignments } from "./agents/assignments.ts";
import { loadedModels, taskCanceller } from "./agents/clients.ts";
import { whenAsked } from "./declarations.ts";
import type { Goal } from "./goal.ts";
import { openChanges } from "./goals/changes.ts";
import { openGoals } from "./goals/goals.ts";
import { storeOver } from "./goals/memory-store.ts";
import { inTurn } from "./goals/turns.ts";
import { undoWords } from "./goals/undo.ts";
import { holdOver } from "./initiative/hold.ts";
import { openInitiative } from "./initiative/initiative.ts";
import { patiently } from "./patience.ts";
import { planCheck } from "./plans/check-plan.ts";
import { openDecisionLog } from "./plans/decisions.ts";
import { gatewayThinker } from "./plans/gateway-source.ts";
import { openLearning } from "./plans/learned/learning.ts";
import { learnedOver } from "./plans/learned/memory-store.ts";
import { contextOver, decisionStore } from "./plans/memory-store.ts";
import { plannerOver } from "./plans/planner.ts";
import { readProcedures } from "./plans/procedures/procedures.ts";
import { runtimeThinker } from "./plans/runtime-source.ts";
import { planSources } from "./plans/sources.ts";
import { orchestratorService } from "./service.ts";
import { autonomyService } from "./services/autonomy-service.ts";
import { dutiesService } from "./services/duties-service.ts";
import { goalControlService } from "./services/goal-control-service.ts";
import { knownGoals } from "./services/known-goals.ts";
import { sessionsService } from "./services/sessions-service.ts";
import { loadReader } from "./services/system-status.ts";
import { openTalks } from "./sessions/talks.ts";
import { toolsOver } from "./tools-client.ts";

/** A plan's check waits so long for aios-tools. */
const checkTimeoutMs = 30_000;

/** Calls to aios-memory about goals that are made at once, at most: as many as it commits together at ease. */
const storeTogetherMax = 64;

/** At the end the agents' standing grants are taken back, or end by their time. */
const endGraceMs = 500;

await runDaemon("orchestrator", process.env, ({ paths, log, clock, address }) => {
  const configured = readAgents(`${paths.etc}/agents`);
  const assignments = openAssignments(taskCanceller(`${paths.run}/agents`, log), approvalMostMs);
  const agents = openAgents(configured.agents, clock, {
    lost: assignments.lose,
    hung: (agent, reason) => supervision.replace(agent, reason),
  });
  const onMachine = paths.run === layout.run;
  const groupOf = agentGroups(process.env["AIOS_GROUP"], configured.agents, { clock, log });
  const spawnAgent = agentSpawner({
    node: process.execPath,
    file: `${paths.lib}/agents.mjs`,
    env: agentEnvironment(process.env),
    // The agents' users exist on the machine only.
    confinement: (agent) => (onMachine ? confinementOf(agent, paths) : undefined),
    ...{ run: paths.run, groupOf, log },
  });
  // Who has ended holds nothing any more; known once there is somebody to take it back.
  let ended: (agent: string, state: ProcessState, why: string) => void = () => {};
  // First of all: eight processes that start are most of what there is to wait for.
  const random = Math.random;
  const supervision = superviseAgents(configured.agents, spawnAgent, { clock, log, random }, (agent, state, why) => {
    agents.processChanged(agent, state, why);
    ended(agent, state, why);
  });
  const end = new AbortController();
  let frozen = false;
  const freezeAgents = (now: boolean) => {
    frozen = now;
    for (const { name } of configured.agents) groupOf(name).freeze(now);
  };
  agents.sweep(end.signal, () => frozen);

  const unusable = (fault: string) => log.error("a file cannot be used", { fault });
  configured.faults.forEach(unusable);
  const declared = whenAsked(() => readProcedures(`${paths.etc}/procedures`), unusable);
  const toMemory = <S extends ServiceDefinition>(definition: S) =>
    connect(definition, address("memory"), undefined, outlivesRestart);
  const [remember, recall] = [toMemory(MemoryServiceService), toMemory(MemoryQueryService)];
  const store = inTurn(storeOver(remember, recall), storeTogetherMax);
  const registry = connect(ToolRegistryService, address("tools"));
  const tools = toolsOver(registry, clock);
  const mayName = effectiveConfig(paths.run).planning?.may_name ?? [];
  const check = planCheck({
    // While aios-tools is away a plan is not wrong.
    find: (tool) => patiently(clock, timeoutSignal(checkTimeoutMs), () => tools.find(tool)),
    covers: (namespace, agent) => agents.covers({ namespace, agent, priority: 0 }),
    allowed: mayName,
  });
  const runtime = connect(AIRuntimeService, address("runtime"));
  const learning = openLearning(learnedOver(remember, recall), declared, { clock, log }, end.signal);
  const gateway = connect(ApiGatewayService, address("gateway"));
  const decisions = openDecisionLog(decisionStore(remember), { clock, log }, end.signal);
  const thinking = {
    context: contextOver(remember),
    thinkers: [runtimeThinker(runtime, "operational"), runtimeThinker(runtime, "tactical"), gatewayThinker(gateway)],
  };
  const sources = planSources({
    ...{ declared, learning, tools, agents, configured: configured.agents, clock },
    ...thinking,
  });
  const planner = plannerOver(sources, check);
  let tellWaits: (goal: Goal, forWhat: string) => void = () => {};
  const goals = openGoals({
    ...{ store, tools, agents, assignments, mayName, clock, log, random, planner },
    changes: openChanges(),
    decided: decisions.decided,
    waits: (goal, forWhat) => tellWaits(goal, forWhat),
    ended(goal) {
      decisions.ended(goal);
      learning.ended(goal);
    },
  });
  const folder = `${paths.state}/orchestrator`;
  const initiative = openInitiative({
    ...{ paths, goals, clock, log, registry, runtime, gateway, agents: configured.agents },
    // What was noticed is told to triggers in any case: it does not wait for memory.
    memory: connect(MemoryServiceService, address("memory")),
    folder,
    configured: effectiveConfig(paths.run).system.autonomy_level,
    initAddress: address("init"),
    ...{ groupOf, freezeAgents, hold: holdOver(connect(HoldingService, address("tools")), clock) },
  });
  const { further, standing, heldBack, door } = initiative;
  ended = initiative.agentEnded;
  tellWaits = initiative.goalWaits;
  // Agents that wait for an answer would hold up the end.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      assignments.end();
      standing.end();
    });
  }
  const talks = openTalks({
    ...{ goals, agents, assignments, tools, registry, sources, clock, log, folder },
    ...{ ...thinking, configured: configured.agents, connectJournal: toMemory, autonomy: further.autonomy },
  });
  const orchestrator = {
    goals,
    agents,
    assignments,
    further,
    commandsFor: async (agent: string, signal: AbortSignal) =>
      (await standing.onDuty(agent, signal)) ? ["duties"] : [],
    groupOf,
    restOf: standing.restOf,
    undoOf: (goal: Goal) => undoWords(goal, tools),
    load: loadReader("/proc", clock),
    loadedModels: loadedModels(runtime),
  };
  return {
    services: () => [
      orchestratorService(orchestrator),
      goalControlService(goals, tools, () => knownGoals(declared().procedures, learning)),
      autonomyService({ autonomy: further.autonomy, goals, resting: standing.resting, heldBack }),
      dutiesService(door),
      sessionsService(talks),
    ],
    servesAgents: true,
    ready: goals.resume().then(() => {
      // A goal that comes before the machine is up reads the procedures itself.
      initiative.begin(end.signal, declared);
      talks.begin();
    }),
    async close() {
      end.abort();
      await Promise.race([standing.halt(), clock.sleep(endGraceMs)]);
      await Promise.all([goals.end(), supervision.end()]);
    },
  };
});

/** The account of an agent. Throws when the image has none for it: it must not run as somebody else. */
function userOf(agent: string): { uid: number; gid: number } {
  const found = Object.entries(users).find(([name]) => name === `aios-agent-${agent}`);
  if (found !== undefined) return found[1];
  throw new AiosError("FAILED_PRECONDITION", {
    act: "start",
    object: `agent ${agent}`,
    reason: `the image has no account aios-agent-${agent}`,
    next: "remove its file from /etc/aios/agents, or add the account to the image",
  });
}

/** An agent reads the configuration in effect, works in its own folder, and speaks to nobody but by its sockets. */
function confinementOf(agent: string, { run }: { readonly run: string }): Confinement {
  return { ...held.agents, account: userOf(agent), listens: [`${run}/agents/${agent}`] };
}

/** What agents see of the environment: where things are, and nothing else. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ["AIOS_RUN_DIR", "AIOS_LIB_DIR", "AIOS_LOG_LEVEL", "NODE_COMPILE_CACHE", "PATH"];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
