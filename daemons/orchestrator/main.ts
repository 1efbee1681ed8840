import { connect } from "#lib/client";
import { effectiveConfig } from "#lib/config";
import { runDaemon } from "#lib/daemon";
import { layout, users } from "#manifest";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ToolRegistryService } from "#proto/aios/tools";
import { readAgents } from "./agent-config.ts";
import { agentSpawner, superviseAgents } from "./agent-processes.ts";
import { openAgents } from "./agents.ts";
import { openAssignments } from "./assignments.ts";
import { loadedModels, taskCanceller } from "./clients.ts";
import { openGoals } from "./goals.ts";
import { storeOver } from "./memory-store.ts";
import { procedurePlanner, readProcedures } from "./procedures.ts";
import { orchestratorService } from "./service.ts";
import { loadReader } from "./system-status.ts";
import { toolsOver } from "./tools-client.ts";

await runDaemon("orchestrator", process.env, ({ paths, log, clock, address }) => {
  const configured = readAgents(`${paths.etc}/agents`);
  const declared = readProcedures(`${paths.etc}/procedures`);
  for (const fault of [...configured.faults, ...declared.faults]) log.error("a file cannot be used", { fault });

  const assignments = openAssignments(taskCanceller(`${paths.run}/agents`, log));
  const agents = openAgents(configured.agents, clock, assignments.lose);
  const store = storeOver(
    connect(MemoryServiceService, address("memory")),
    connect(MemoryQueryService, address("memory")),
  );
  const tools = toolsOver(connect(ToolRegistryService, address("tools")), clock);
  const world = { store, tools, agents, assignments, clock, log, random: Math.random };
  const names = configured.agents.map(({ name }) => name);
  const goals = openGoals(procedurePlanner(declared.procedures, declared.faults), world, names);

  const onMachine = paths.run === layout.run;
  const spawnAgent = agentSpawner({
    node: process.execPath,
    file: `${paths.lib}/agents.mjs`,
    env: agentEnvironment(process.env),
    // The agents' users exist on the machine only.
    user: (agent) => (onMachine ? users[`aios-agent-${agent}` as keyof typeof users] : undefined),
  });
  const supervision = superviseAgents(configured.agents, spawnAgent, world, agents.processChanged);
  const end = new AbortController();
  agents.sweep(end.signal);
  // Agents that wait for a task would hold up the end.
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, assignments.end);

  const orchestrator = {
    goals,
    agents,
    assignments,
    autonomyLevel: effectiveConfig(paths.run).system.autonomy_level,
    load: loadReader("/proc", clock),
    loadedModels: loadedModels(connect(AIRuntimeService, address("runtime"))),
  };
  return {
    services: () => [orchestratorService(orchestrator)],
    servesAgents: true,
    ready: goals.resume(),
    async close() {
      end.abort();
      await Promise.all([goals.end(), supervision.end()]);
    },
  };
});

/** What agents see of the environment: where things are, and nothing else. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ["AIOS_RUN_DIR", "AIOS_LIB_DIR", "AIOS_LOG_LEVEL", "NODE_COMPILE_CACHE", "PATH"];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
