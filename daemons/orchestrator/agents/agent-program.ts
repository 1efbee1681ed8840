import type { Paths } from "#lib/daemon";
import { AiosError } from "#lib/errors";
import type { Confinement } from "#lib/linux/confinement";
import type { Log } from "#lib/log";
import { layout, users } from "#manifest";
import { held } from "#reach";
import type { GroupOf } from "./agent-groups.ts";
import type { AgentProgram } from "./agent-processes.ts";

/** How agents are started where the orchestrator runs with this environment. */
export function agentProgram(
  env: NodeJS.ProcessEnv,
  { paths, groupOf, log }: { readonly paths: Paths; readonly groupOf: GroupOf; readonly log: Log },
): AgentProgram {
  const onMachine = paths.run === layout.run;
  return {
    node: process.execPath,
    file: `${paths.lib}/agents.cjs`,
    env: agentEnvironment(env),
    // The agents' users exist on the machine only.
    confinement: (agent) => (onMachine ? confinementOf(agent, paths) : undefined),
    ...{ run: paths.run, groupOf, log },
  };
}

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

/** The part of the environment that agents see: where things are, and nothing else. */
function agentEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ["AIOS_RUN_DIR", "AIOS_LIB_DIR", "AIOS_LOG_LEVEL", "PATH"];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
