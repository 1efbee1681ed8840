import { writeFileSync } from "node:fs";
import { connect } from "#lib/client";
import { runDaemon } from "#lib/daemon";
import { effectiveConfig, effectiveConfigPath } from "#lib/effective";
import { AiosError } from "#lib/errors";
import { seccompFilter } from "#lib/seccomp";
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
import type { Confinement } from "./confinement.ts";
import { openGoals } from "./goals.ts";
import { storeOver } from "./memory-store.ts";
import { procedurePlanner, readProcedures } from "./procedures.ts";
import { orchestratorService } from "./service.ts";
import { loadReader } from "./system-status.ts";
import { toolsOver } from "./tools-client.ts";

await runDaemon("orchestrator", process.env, ({ paths, log, clock, address }) => {
  const configured = readAgents(`${paths.etc}/agents`);
  const assignments = openAssignments(taskCanceller(`${paths.run}/agents`, log));
  const agents = openAgents(configured.agents, clock, assignments.lose);
  const onMachine = paths.run === layout.run;
  const spawnAgent = agentSpawner({
    node: process.execPath,
    file: `${paths.lib}/agents.mjs`,
    env: agentEnvironment(process.env),
    // The agents' users exist on the machine only.
    confinement: (agent) => (onMachine ? confinementOf(agent, paths) : undefined),
  });
  if (onMachine) writeFileSync(filterPath(paths.run), seccompFilter("unix"), { mode: 0o644 });
  // First of all: eight processes that start are most of what there is to wait for.
  const random = Math.random;
  const supervision = superviseAgents(configured.agents, spawnAgent, { clock, log, random }, agents.processChanged);
  const end = new AbortController();
  agents.sweep(end.signal);

  const declared = readProcedures(`${paths.etc}/procedures`);
  for (const fault of [...configured.faults, ...declared.faults]) log.error("a file cannot be used", { fault });
  const memory = address("memory");
  const store = storeOver(connect(MemoryServiceService, memory), connect(MemoryQueryService, memory));
  const tools = toolsOver(connect(ToolRegistryService, address("tools")), clock);
  const world = { store, tools, agents, assignments, clock, log, random };
  const goals = openGoals(procedurePlanner(declared.procedures, declared.faults), world);
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
  const readable = [effectiveConfigPath(run)];
  return { ...userOf(agent), folder: `${run}/agents/${agent}`, readable, filter: filterPath(run) };
}

function filterPath(run: string): string {
  return `${run}/agents.seccomp`;
}

/** What agents see of the environment: where things are, and nothing else. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ["AIOS_RUN_DIR", "AIOS_LIB_DIR", "AIOS_LOG_LEVEL", "NODE_COMPILE_CACHE", "PATH"];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
