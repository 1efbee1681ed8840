/** Real processes, in real control groups where the host has them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { backoffMs } from "#lib/backoff";
import { ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { AgentConfig } from "./agent-config.ts";
import { agentGroups } from "./agent-groups.ts";
import {
  type AgentProgram,
  agentSpawner,
  type ProcessState,
  type SpawnAgent,
  superviseAgents,
} from "./agent-processes.ts";

const folder = mkdtempSync("/tmp/aios-agent-processes-");
afterAll(() => rmSync(folder, { recursive: true }));

const configOf = (name: string, namespaces: string[] = []): AgentConfig => ({
  ...{ name, type: name, role: "r", brief: "b", namespaces, standing: [], requestable: [] },
  ...{ concurrentTasksMax: 1, heartbeatIntervalMs: 1_000 },
  limits: { memoryMiB: 64, pids: 32, cpuCores: 0.5 },
  restart: { max: 3, windowMs: 60_000, delayMs: 1_000 },
});

const groupsIn = (top: string | undefined) =>
  agentGroups(top, [configOf("system")], { clock: systemClock, log: silentLog });

const spawnerOf = (program: Partial<AgentProgram>): SpawnAgent =>
  agentSpawner({
    ...{ node: "/bin/sh", file: "agents.cjs", env: {}, confinement: () => undefined, groupOf: groupsIn(undefined) },
    ...{ run: "/run/aios", log: silentLog },
    ...program,
  });

/** A program that runs `script` as the agents' program would be run. */
const program = (script: string): string => {
  const path = `${folder}/program-${programs++}`;
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
};
let programs = 0;

const eventually = async (wanted: () => boolean): Promise<boolean> => {
  for (let tries = 0; tries < 3_000 && !wanted(); tries += 1) await delay(10);
  return wanted();
};

describe("supervision", () => {
  const world = (clock: ManualClock) => ({ clock, log: silentLog, random: () => 0.5 });

  it("starts an agent again, later each time, and slowly in a crash loop", async () => {
    const clock = new ManualClock(0);
    const starts: number[] = [];
    const states: ProcessState[] = [];
    const spawnAgent: SpawnAgent = () => {
      starts.push(clock.monotonic());
      return { ended: Promise.resolve("exit status 1"), end: () => {} };
    };
    const supervision = superviseAgents([configOf("system", [])], spawnAgent, world(clock), (_, state) =>
      states.push(state),
    );
    await clock.advance(130_000);
    expect(starts.slice(0, 5)).toEqual([0, 1_000, 3_000, 7_000, 67_000]);
    expect(states.slice(0, 2)).toEqual(["starting", "backoff"]);
    expect(states).toContain("crash_loop");
    const ended = supervision.end();
    await clock.advance(0);
    await ended;
    expect(states.at(-1)).toBe("stopped");
  });

  it("replaces an agent that hangs, once, and says why", async () => {
    const clock = new ManualClock(0);
    const states: [ProcessState, string][] = [];
    const ends: (() => void)[] = [];
    const asked: string[] = [];
    const spawnAgent: SpawnAgent = () => {
      const { promise, resolve } = Promise.withResolvers<string>();
      ends.push(() => resolve("killed by SIGKILL"));
      return { ended: promise, end: () => void asked.push("end") };
    };
    const supervision = superviseAgents([configOf("system")], spawnAgent, world(clock), (_, ...state) =>
      states.push(state),
    );
    supervision.replace("system", "it was silent");
    supervision.replace("system", "it was silent for longer");
    expect(asked).toHaveLength(1);
    ends[0]?.();
    await clock.advance(1_000);
    expect(states).toEqual([
      ["starting", ""],
      ["backoff", "it was silent: killed by SIGKILL"],
      ["starting", ""],
    ]);
    expect(ends).toHaveLength(2);
    supervision.replace("nobody", "there is none");
    const ended = supervision.end();
    expect(asked).toHaveLength(2);
    ends[1]?.();
    await ended;
  });

  it("ends one that does not listen", async () => {
    const deaf = `${folder}/deaf`;
    const script = `trap "" TERM; echo > ${deaf}; while :; do sleep 0.1; done`;
    const agent = spawnerOf({ node: program(script) })(configOf("system"));
    expect(await eventually(() => existsSync(deaf))).toBe(true);
    agent.end();
    expect(await agent.ended).toBe("killed by SIGKILL");
  });

  it("goes on when an agent cannot even be spawned", async () => {
    const clock = new ManualClock(0);
    const states: [ProcessState, string][] = [];
    const spawnAgent = () => {
      throw new Error("the image has no account");
    };
    superviseAgents([configOf("system", [])], spawnAgent, world(clock), (_, ...state) => states.push(state));
    await clock.advance(0);
    expect(states).toContainEqual(["backoff", "the image has no account"]);
  });

  it("runs an agent with its settings, and ends it by closing its input", async () => {
    const script = 'echo begun > "$OUT"; echo "$AIOS_AGENT_SETTINGS" >> "$OUT"; cat; echo over >> "$OUT"';
    writeFileSync(`${folder}/sh`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const out = `${folder}/out`;
    writeFileSync(out, "");
    const agent = spawnerOf({ node: `${folder}/sh`, env: { OUT: out } })(configOf("system", ["fs"]));
    const lines = () => readFileSync(out, "utf8").split("\n");
    while (lines().length < 3) await delay(10);
    expect(JSON.parse(lines()[1] ?? "")).toMatchObject({ type: "system", namespaces: ["fs"], concurrentTasksMax: 1 });
    agent.end();
    expect(await agent.ended).toMatch(/exit status 0|killed by SIGTERM/);
  });

  it("says why a program cannot be started", async () => {
    expect(await spawnerOf({ node: `${folder}/none` })(configOf("system", [])).ended).toMatch(
      /cannot be started: .*ENOENT/,
    );
  });

  it("waits longer each time, with jitter", () => {
    expect([1, 2, 3, 99].map((attempt) => backoffMs(attempt, 100, 1_000, () => 0.5))).toEqual([100, 200, 400, 1_000]);
    expect(backoffMs(1, 100, 1_000, () => 0)).toBe(75);
    expect(backoffMs(1, 100, 1_000, () => 0.999)).toBe(125);
  });
});

/** Where hosts mount cgroup2: alone, or beside version 1. */
const mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].filter((path) => existsSync(`${path}/cgroup.procs`));

describe.each(mounts)("an agent in a control group of %s", (mount) => {
  const top = `${mount}/aios-agents-${process.pid}`;
  const own = `${top}/system`;
  const procs = () => readFileSync(`${own}/cgroup.procs`, "utf8").split("\n").filter(Boolean).map(Number);
  afterEach(() => {
    for (const path of [own, top]) rmdirSync(path);
  });

  it("lies in one of its own name, is counted with its children, and leaves none behind when it is killed", async () => {
    const groupOf = groupsIn(top);
    // As Node: it does not fork before it was moved.
    const busy = "sleep 0.2; setsid sh -c 'while :; do :; done' & exec sleep 60";
    const agent = spawnerOf({ node: program(busy), groupOf })(configOf("system"));
    expect(await eventually(() => procs().length === 2)).toBe(true);
    const [main = 0] = procs();
    expect(await eventually(() => groupOf("system").cpuMs() > 100)).toBe(true);
    process.kill(main, "SIGKILL");
    expect(await agent.ended).toBe("killed by SIGKILL");
    expect(procs()).toEqual([]);
  });

  it("comes back into the same", async () => {
    const groupOf = groupsIn(top);
    const spawnAgent = spawnerOf({ node: program("exec sleep 60"), groupOf });
    for (let start = 0; start < 2; start += 1) {
      const agent = spawnAgent(configOf("system"));
      expect(await eventually(() => procs().length === 1)).toBe(true);
      agent.end();
      expect(await agent.ended).toBe("killed by SIGTERM");
    }
  });
});

describe("an agent's group", () => {
  /** A folder that looks like a control group's, with the files that the kernel makes in one. */
  const twin = () => {
    const mount = mkdtempSync(`${folder}/cgroup-`);
    writeFileSync(`${mount}/cgroup.procs`, "");
    mkdirSync(`${mount}/orchestrator/system`, { recursive: true });
    for (const file of ["memory.max", "pids.max", "cpu.max"]) writeFileSync(`${mount}/orchestrator/system/${file}`, "");
    return `${mount}/orchestrator`;
  };

  it("has the limits of the agent's file, and less of the processors when it is throttled", () => {
    const top = twin();
    const group = groupsIn(top)("system");
    const limit = (name: string) => readFileSync(`${top}/system/${name}`, "utf8");
    expect([limit("memory.max"), limit("pids.max"), limit("cpu.max")]).toEqual(["67108864", "32", "50000 100000"]);
    expect([group.setCpuCores(0.1), limit("cpu.max")]).toEqual([true, "10000 100000"]);
    expect([group.setCpuCores(undefined), limit("cpu.max")]).toEqual([true, "50000 100000"]);
  });

  it("tells that the kernel killed it for want of memory, and not a later one that somebody else killed", async () => {
    const top = twin();
    const groupOf = groupsIn(top);
    groupOf("system");
    const events = `${top}/system/memory.events`;
    const starved = program(`echo "oom_kill 1" > ${events}; kill -9 $$`);
    const killed = program("kill -9 $$");
    const endOf = (node: string) => spawnerOf({ node, groupOf })(configOf("system")).ended;
    expect(await endOf(starved)).toBe("killed by the kernel for want of memory: it may use 64 MiB");
    expect(await endOf(killed)).toBe("killed by SIGKILL");
  });

  it("is said once to lack what the kernel does not limit", () => {
    const said: unknown[] = [];
    const log = { ...silentLog, warn: (...words: unknown[]) => void said.push(words[1]) };
    const groupOf = agentGroups(undefined, [configOf("system")], { clock: systemClock, log });
    expect(groupOf("system").setCpuCores(0.1)).toBe(false);
    expect(said).toEqual([{ lacking: ["cpu", "memory", "pids"] }]);
    expect(() => groupOf("mallory")).toThrow(/agent mallory: it is not configured/);
  });
});
