import { type ChildProcess, spawn } from "node:child_process";
import { backoffMs } from "#lib/backoff";
import { type Clock, callAfter } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Group } from "#lib/linux/cgroups";
import { type Confinement, confined } from "#lib/linux/confinement";
import type { Log } from "#lib/log";
import { heapOptions, nodeOptions } from "#manifest";
import type { AgentConfig } from "./agent-config.ts";
import type { GroupOf } from "./agent-groups.ts";

/** State of an agent's process, as far as its parent can tell. */
export type ProcessState = "starting" | "backoff" | "crash_loop" | "stopped";

/** The longest pause between two starts, and that between those of an agent in a crash loop. */
const pauseMaxMs = 30_000;
const crashLoopPauseMs = 60_000;

/** Time for an agent to end once it is told to. */
const endGraceMs = 1_500;

/** Time for what an agent left in its group to be gone, once it was killed. */
const emptyWithinMs = 1_000;

/**
 * Share of an agent's memory that its heap may take: Node itself, its threads and its libraries' code need the rest.
 */
const heapShare = 0.75;

interface AgentProcess {
  /** Resolves with how it ended, in words. */
  readonly ended: Promise<string>;
  /** Tells it to end; it must, within a moment. */
  end(): void;
}

export type SpawnAgent = (config: AgentConfig) => AgentProcess;

/** How the agents' program is started. */
export interface AgentProgram {
  readonly node: string;
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** The folder of the filters of system calls. */
  readonly run: string;
  /** Confinement of an agent; undefined = it runs as the orchestrator does. */
  confinement(agent: string): Confinement | undefined;
  readonly groupOf: GroupOf;
  readonly log: Log;
}

/**
 * Starts the agents' program as one of the agents.
 * Its standard input is a pipe that nothing is written to: it closes with the orchestrator, however that ends, and the agent ends by it.
 */
export function agentSpawner(program: AgentProgram): SpawnAgent {
  return (config) => {
    const heap = heapOptions(Math.floor(config.limits.memoryMiB * heapShare));
    const words = [program.node, ...nodeOptions, ...heap, program.file] as const;
    const confinement = program.confinement(config.name);
    const [file, ...args] = confinement === undefined ? words : confined(words, confinement, program.run);
    const group = program.groupOf(config.name);
    const oomKills = group.oomKills();
    const killedBy = (signal: string) =>
      signal === "SIGKILL" && group.oomKills() > oomKills
        ? `killed by the kernel for want of memory: it may use ${config.limits.memoryMiB} MiB`
        : `killed by ${signal}`;
    const child = spawn(file, args, {
      stdio: ["pipe", "ignore", "inherit"],
      env: { ...program.env, AIOS_AGENT: config.name, AIOS_AGENT_SETTINGS: settingsOf(config) },
      cwd: "/",
    });
    const ended = endOf(child, group, killedBy);
    child.stdin.on("error", () => {});
    // Neither Node nor setpriv starts a process in a group. It is moved long before its JavaScript runs, let alone forks.
    if (child.pid !== undefined) {
      group.add(child.pid).catch((error: unknown) => {
        program.log.warn("an agent runs without limits", { agent: config.name, reason: messageOf(error) });
      });
    }
    return {
      ended,
      end() {
        child.stdin.end();
        child.kill("SIGTERM");
        ended.then(callAfter(endGraceMs, () => child.kill("SIGKILL")));
      },
    };
  };
}

/** Resolves when nothing of an agent is left, with how it ended. */
async function endOf(child: ChildProcess, group: Group, killedBy: (signal: string) => string): Promise<string> {
  const how = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`cannot be started: ${messageOf(error)}`));
    child.once("exit", (code, signal) => resolve(signal === null ? `exit status ${code}` : killedBy(signal)));
  });
  group.kill();
  await group.empty(emptyWithinMs);
  return how;
}

/**
 * The part of its configuration that the agents' program reads (daemons/agents/settings.ts): so it needs no TOML and no
 * schema.
 */
function settingsOf(config: AgentConfig): string {
  const { type, namespaces, concurrentTasksMax, heartbeatIntervalMs } = config;
  return JSON.stringify({ type, namespaces, concurrentTasksMax, heartbeatIntervalMs });
}

/** An agent that cannot even be spawned ended at once. */
function startOrSay(spawnAgent: SpawnAgent, config: AgentConfig): AgentProcess {
  try {
    return spawnAgent(config);
  } catch (error) {
    return { ended: Promise.resolve(messageOf(error)), end: () => {} };
  }
}

interface Supervision {
  /** Ends an agent that is of no use any more, for the reason given: it is started again. */
  replace(agent: string, reason: string): void;
  /** Ends all agents; resolves when they have ended. */
  end(): Promise<void>;
}

/** Starts every agent and starts it again when it ends, until told to end. `changed` hears of each change of state. */
export function superviseAgents(
  configs: readonly AgentConfig[],
  spawnAgent: SpawnAgent,
  { clock, log, random }: { readonly clock: Clock; readonly log: Log; readonly random: () => number },
  changed: (agent: string, state: ProcessState, reason: string) => void,
): Supervision {
  const stop = new AbortController();
  const running = new Map<string, { readonly end: () => void; replacedFor: string }>();
  const supervise = async (config: AgentConfig) => {
    log.info(`agent ${config.name} starts`, { agent: config.name, role: config.role });
    let ends: number[] = [];
    while (!stop.signal.aborted) {
      changed(config.name, "starting", "");
      const process = startOrSay(spawnAgent, config);
      const one = { end: () => process.end(), replacedFor: "" };
      running.set(config.name, one);
      const how = await process.ended;
      running.delete(config.name);
      const reason = one.replacedFor === "" ? how : `${one.replacedFor}: ${how}`;
      if (stop.signal.aborted) break;
      ends = [...ends.filter((at) => at > clock.monotonic() - config.restart.windowMs), clock.monotonic()];
      const looping = ends.length > config.restart.max;
      const pauseMs = looping
        ? backoffMs(1, crashLoopPauseMs, crashLoopPauseMs, random)
        : backoffMs(ends.length, config.restart.delayMs, pauseMaxMs, random);
      log.warn(`agent ${config.name} ended`, { agent: config.name, reason, looping, startsAgainInMs: pauseMs });
      changed(config.name, looping ? "crash_loop" : "backoff", reason);
      await clock.sleep(pauseMs, stop.signal).catch(() => {});
    }
    changed(config.name, "stopped", "the orchestrator ends");
  };
  const all = Promise.all(configs.map(supervise));
  return {
    replace(agent, reason) {
      const one = running.get(agent);
      if (one === undefined || one.replacedFor !== "") return;
      one.replacedFor = reason;
      one.end();
    },
    async end() {
      stop.abort();
      for (const { end } of running.values()) end();
      await all;
    },
  };
}
