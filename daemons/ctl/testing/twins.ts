import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { type Clock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { createServer, listen } from "#lib/rpc/server";
import { identify, identityOf, type Service, service } from "#lib/rpc/service";
import { openPeer } from "#lib/testing/sockets";
import { AutonomyService, AutonomyState } from "#proto/aios/autonomy";
import { Goal, Task } from "#proto/aios/common";
import { GoalControlService, GoalView } from "#proto/aios/goal_control";
import { Boot, InitService, LogLine, Phase, Unit, UnitState } from "#proto/aios/init";
import { GoalStatusResponse, OrchestratorService, SystemStatusResponse } from "#proto/aios/orchestrator";
import { ToolRolesService } from "#proto/aios/tool_roles";
import { ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import { run } from "../cli.ts";
import type { Exit } from "../command.ts";

/** For tests: folders, twins of daemons on their sockets, and command lines run against them. */
export interface Twin {
  readonly folder: string;
  readonly run: string;
  daemon(name: string, ...services: Service[]): Promise<{ stop(): void }>;
  /** Runs a command line; what it wrote comes back. */
  aiosctl(...argv: string[]): Promise<{ code: Exit; out: string; error: string }>;
  /** The same under a given environment. */
  aiosctlWith(
    world: {
      signal?: AbortSignal;
      clock?: Clock;
      machine?: string;
      called?: string;
      input?: string;
      ask?: (question: string) => Promise<string | undefined>;
    },
    ...argv: string[]
  ): ReturnType<Twin["aiosctl"]>;
  close(): void;
}

export function openTwin(): Twin {
  const root = mkdtempSync("/tmp/aios-ctl-");
  const [folder, sockets] = [`${root}/config`, `${root}/run`];
  mkdirSync(sockets);
  const closing: (() => void)[] = [];
  const aiosctlWith: Twin["aiosctlWith"] = async (world, ...argv) => {
    let [out, error] = ["", ""];
    const code = await run(argv, {
      ...{
        folder,
        run: sockets,
        machine: world.machine,
        clock: world.clock ?? systemClock,
        called: world.called ?? "aiosctl",
      },
      signal: world.signal ?? new AbortController().signal,
      write: (text) => {
        out += text;
      },
      writeError: (text) => {
        error += text;
      },
      input: async () => world.input ?? "",
      ask: world.ask,
    });
    return { code, out, error };
  };
  return {
    folder,
    run: sockets,
    async daemon(name, ...services) {
      // On the machine itself, and through its console.
      const servers = ["ctl", "console"].map((peer) => {
        const identity = identityOf(peer);
        const server = createServer(services, (call) => identify(identity, call.metadata), silentLog);
        return { server, endpoint: { path: openPeer(sockets, name, peer), identity, mode: 0o600 } };
      });
      await Promise.all(servers.map(({ server, endpoint }) => listen(server, endpoint)));
      const stop = () => {
        for (const { server } of servers) server.forceShutdown();
      };
      closing.push(stop);
      return { stop };
    },
    aiosctl: (...argv) => aiosctlWith({}, ...argv),
    aiosctlWith,
    close() {
      for (const close of closing.splice(0)) close();
      rmSync(root, { recursive: true });
    },
  };
}

const at = Date.UTC(2026, 10, 21, 9, 15, 2);

/** A machine that has booted, with one unit in trouble. */
export const init = (asked: unknown[] = [], state = "degraded", managed = false): Service =>
  service(InitService, {
    getBoot: () =>
      Boot.fromPartial({
        ...{ bootId: "b", state, kernelStartAt: at, firstJavascriptMs: 2_300, autonomyMs: 11_200 },
        version: "0.1.0",
        faults: ["no watchdog device"],
        phases: [
          Phase.fromPartial({ number: 1, name: "hardware", state: "ready", startedMs: 2_400, durationMs: 310 }),
          Phase.fromPartial({
            number: 2,
            name: "runtime",
            state: "degraded",
            startedMs: 2_710,
            durationMs: 4_000,
            detail: "no model",
          }),
          Phase.fromPartial({ number: 3, name: "core", state: "pending" }),
        ],
      }),
    listUnits: () => ({
      units: [
        Unit.fromPartial({
          name: "memory",
          state: UnitState.UNIT_READY,
          pid: 71,
          startedAt: at,
          readyAfterMs: 412,
          memoryBytes: 19_400_000,
        }),
        Unit.fromPartial({
          name: "gateway",
          state: UnitState.UNIT_CRASH_LOOP,
          restarts: 9,
          reason: "exit status 70",
          managed,
        }),
      ],
    }),
    restartUnit: ({ name }) => {
      asked.push(["restart", name]);
      return Unit.fromPartial({ name, state: UnitState.UNIT_STARTING });
    },
    async *readLogs(request) {
      asked.push(request);
      const text = JSON.stringify({
        t: at,
        level: "warn",
        unit: "tools",
        msg: "refused a call",
        cid: "c",
        path: "/x",
        n: 3,
      });
      yield LogLine.fromPartial({ unit: "tools", timestamp: at, text });
      yield LogLine.fromPartial({ unit: "tools", timestamp: at, text: "plain \u001b[2Jwords" });
      if (request.follow) await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
    },
    shutdown: ({ reason }) => {
      asked.push(["shutdown", reason]);
      return { success: true, message: "" };
    },
  });

const task = (id: string, status: string, more: Partial<Task> = {}) =>
  Task.fromPartial({ id, goalId: "g1", description: `step ${id}`, assignedAgent: "monitor", status, ...more });
const goal = (status: string, result = "") =>
  Goal.fromPartial({
    id: "g1",
    description: "report disk usage",
    priority: 2,
    source: "operator:alice",
    status,
    result,
    createdAt: at,
  });
const output = Buffer.from(JSON.stringify({ percent: 41 }));

/** A goal as it goes. */
export const looks = (end: "completed" | "failed"): GoalStatusResponse[] =>
  [
    { goal: goal("planning") },
    { goal: goal("in_progress"), tasks: [task("a", "in_progress"), task("b", "pending")] },
    {
      goal: goal("in_progress"),
      tasks: [
        task("a", "completed", { startedAt: at, completedAt: at + 120, outputJson: output }),
        task("b", "in_progress"),
      ],
    },
    {
      goal: goal(end, end === "completed" ? "Wrote the report." : "step b: no space left"),
      tasks: [
        task("a", "completed", { startedAt: at, completedAt: at + 120, outputJson: output }),
        task("b", end, end === "failed" ? { error: "no space left" } : {}),
      ],
    },
  ].map((look) => GoalStatusResponse.fromPartial(look));

/** How far the machine acts by itself, and what it leaves to a person. */
export const autonomy = (
  heldBack: string[] = [],
  waiting: string[] = [],
  more: Partial<AutonomyState> = {},
): Service => {
  const state = AutonomyState.fromPartial({ level: "manual", configuredLevel: "full", heldBack, waiting, ...more });
  return service(AutonomyService, {
    ...{ getAutonomy: () => state, setAutonomy: () => state },
    ...{ emergencyStop: () => state, emergencyResume: () => state },
  });
};

/** A goal as it is followed. */
export const watched = (seen: readonly GoalStatusResponse[]): Service =>
  service(GoalControlService, {
    async *watchGoal() {
      for (const { goal, tasks } of seen) yield GoalView.fromPartial({ goal, tasks, result: goal?.result ?? "" });
    },
  });

export const orchestrator = (seen: GoalStatusResponse[], asked: unknown[] = []): Service =>
  service(OrchestratorService, {
    submitGoal: (request) => {
      asked.push(request);
      return { id: "g1" };
    },
    getGoalStatus: () => seen.at(-1) ?? GoalStatusResponse.create(),
    listGoals: (request) => {
      asked.push(request);
      return { goals: [goal("completed")], total: 30, nextCursor: "" };
    },
    cancelGoal: ({ id }) => ({
      ...{ success: id === "g1", message: id === "g1" ? "" : `no goal ${id}`, executionIds: [] },
    }),
    listAgents: () => ({
      agents: [
        {
          ...{ agentId: "system", agentType: "system", capabilities: [], toolNamespaces: ["fs", "hw"] },
          ...{ status: "idle", registeredAt: 0, memoryBytes: 41_200_000, memoryMaxBytes: 268_435_456, cpuMs: 812 },
          reason: "its duties rest for 10 minutes",
        },
      ],
    }),
    getSystemStatus: () =>
      SystemStatusResponse.fromPartial({
        activeGoals: 1,
        activeAgents: 8,
        loadedModels: ["bringup"],
        autonomyLevel: "full",
        uptimeSeconds: 200,
      }),
  });

const outputs: Readonly<Record<string, object>> = {
  "fs.read": { content: "hello" },
  "sec.audit": { entries: [{ sequence: 7, state: "done", hash: "ab12" }], total: 1 },
};

export const tools = (asked: unknown[] = []): Service =>
  service(ToolRegistryService, {
    listTools: ({ namespace }) => ({
      tools: [definition].filter((tool) => namespace === "" || tool.namespace === namespace),
    }),
    getTool: () => definition,
    execute: (request) => {
      asked.push(request);
      const output = outputs[request.toolName];
      const good = output !== undefined;
      return {
        ...{ success: good, outputJson: good ? Buffer.from(JSON.stringify(output)) : Buffer.alloc(0) },
        ...{ error: good ? "" : "no such file", executionId: "e", durationMs: 3, backupId: "" },
      };
    },
  });

export const toolRoles = (): Service =>
  service(ToolRolesService, {
    listRoles: () => ({
      tools: [{ name: "fs.read", role: "operator", adminWhen: "of the moon", askedWhen: "at night" }],
    }),
  });

const definition = ToolDefinition.fromPartial({
  ...{
    name: "fs.read",
    namespace: "fs",
    version: "1.0.0",
    description: "Reads a file",
    riskLevel: "low",
    timeoutMs: 5_000,
  },
  requiredCapabilities: ["fs:read:{path}"],
  inputSchema: Buffer.from('{"type":"object"}'),
  idempotent: true,
});
