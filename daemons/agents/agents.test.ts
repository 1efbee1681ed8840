import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { AiosError, type Code } from "#lib/errors";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, service } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { AgentService } from "#proto/aios/agent";
import { Task as TaskMessage } from "#proto/aios/common";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { live, type Orchestrator, type Pulse } from "./agent.ts";
import { ownLoad } from "./load.ts";
import { agentService } from "./service.ts";
import { readSettings } from "./settings.ts";
import { type CallTool, openWork, type Result, type Task, type Work } from "./work.ts";

const settings = {
  name: "system",
  type: "system",
  namespaces: ["fs"],
  concurrentTasksMax: 2,
  heartbeatIntervalMs: 20,
};

const taskOf = (id: string): Task => ({
  id,
  description: `do ${id}`,
  input: '{"tool":"fs.read","arguments":{"path":"/x"},"execution_id":"e-0"}',
});

let stop: AbortController;
let calls: { tool: string; input: string; signal: AbortSignal; finish: (output: string) => void }[];
let work: Work;

/** A tool call that ends when the test says so, or is stopped. */
const callTool: CallTool = ({ tool, input, executionId, waits }, _, signal) =>
  new Promise((resolve, reject) => {
    if (executionId === "e") waits?.(`approval of ${executionId}`);
    const finish = (output: string) =>
      resolve({ success: true, output: Buffer.from(output), error: "", errorCode: "" });
    calls.push({ tool, input: String(input), signal, finish });
    signal.addEventListener("abort", () => reject(new AiosError("CANCELLED", "cancelled")));
  });

beforeEach(() => {
  stop = new AbortController();
  calls = [];
  work = openWork(callTool, systemClock);
});

afterEach(() => stop.abort());

async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !what(); await delay(2))
    if (Date.now() > end) throw new Error(`never: ${what}`);
}

describe("an agent's work", () => {
  it("is one tool call, reported with its output and time", async () => {
    const result = work.run(taskOf("a"));
    expect(calls[0]).toMatchObject({ tool: "fs.read", input: '{"path":"/x"}' });
    expect(work.running()).toEqual(["a"]);
    calls[0]?.finish("{}");
    expect(await result).toMatchObject({ taskId: "a", success: true, output: Buffer.from("{}"), error: "" });
    expect(work).toMatchObject({ completed: 1, failed: 0 });
  });

  it("has the execution id that it was given, and tells which approval it waits for", async () => {
    const waiting: string[] = [];
    const asked = openWork(callTool, systemClock, (task, approval) => waiting.push(`${task}: ${approval}`));
    asked.run({ ...taskOf("a"), input: '{"tool":"fs.read","arguments":{},"execution_id":"e"}' });
    expect(waiting).toEqual(["a: approval of e"]);
  });

  it("that is stopped fails with who stopped it", async () => {
    const result = work.run(taskOf("a"));
    expect(work.cancel("a", "the goal was cancelled")).toBe(true);
    expect(work.cancel("b", "")).toBe(false);
    expect(await result).toMatchObject({ success: false, error: "the goal was cancelled", errorCode: "CANCELLED" });
    expect(calls[0]?.signal.aborted).toBe(true);
    expect(work).toMatchObject({ completed: 0, failed: 1 });
  });

  it.each(["nonsense", "{}", "null", '{"tool":5}'])("cannot be made of %s", async (input) => {
    expect(await work.run({ id: "a", description: "", input })).toMatchObject({
      success: false,
      errorCode: "INVALID_ARGUMENT",
      error: expect.stringMatching(/./),
    });
    expect(calls).toEqual([]);
  });

  it("tells a refusal by its code", async () => {
    const refused = openWork(() => Promise.reject(new AiosError("PERMISSION_DENIED", "no")), systemClock);
    expect(await refused.run(taskOf("a"))).toMatchObject({
      success: false,
      error: "no",
      errorCode: "PERMISSION_DENIED",
    });
  });

  it("is not done twice at the same time", async () => {
    work.run(taskOf("a"));
    expect(await work.run(taskOf("a"))).toMatchObject({ success: false, errorCode: "ABORTED" });
    expect(calls).toHaveLength(1);
  });
});

/** An orchestrator for one agent, which fails as often as the test says. */
function twin() {
  const tasks: Task[] = [];
  const state = { registered: 0, wishes: [] as string[], pulses: [] as Pulse[], reports: [] as Result[], polls: 0 };
  const failures: { report: Code[]; register: number; next: Code[] } = { report: [], register: 0, next: [] };
  const orchestrator: Orchestrator = {
    async register() {
      if (failures.register-- > 0) throw new AiosError("UNAVAILABLE", "away");
      state.registered += 1;
    },
    async beat(pulse) {
      state.pulses.push(pulse);
      return state.wishes.splice(0);
    },
    async next(signal) {
      state.polls += 1;
      const failure = failures.next.shift();
      if (failure !== undefined) throw new AiosError(failure, "no");
      while (tasks.length === 0 && !signal.aborted) await delay(2);
      return tasks.shift();
    },
    async report(result) {
      const failure = failures.report.shift();
      if (failure !== undefined) throw new AiosError(failure, "no");
      state.reports.push(result);
    },
    async waits() {},
  };
  return { orchestrator, tasks, state, failures };
}

describe("an agent's life", () => {
  const begin = (orchestrator: Orchestrator) =>
    live(settings, orchestrator, work, { clock: systemClock, log: silentLog, signal: stop.signal });

  it("takes further tasks while the calls of others wait for a person", async () => {
    const { orchestrator, tasks, state } = twin();
    const life = begin(orchestrator);
    const waits = (id: string) => ({ ...taskOf(id), input: '{"tool":"fs.read","arguments":{},"execution_id":"e"}' });
    tasks.push(waits("a"), waits("b"), waits("c"), taskOf("d"));
    await until(() => calls.length === 4);
    calls[3]?.finish("{}");
    await until(() => state.reports.length === 1);
    expect(state.reports[0]).toMatchObject({ taskId: "d" });
    stop.abort();
    await life;
  });

  it("registers until it may, beats, and registers again when asked to", async () => {
    const { orchestrator, state, failures } = twin();
    failures.register = 2;
    const life = begin(orchestrator);
    await until(() => state.registered === 1 && state.pulses.length > 1);
    expect(state.pulses[0]).toEqual({ status: "idle", currentTaskId: "" });
    state.wishes.push("register");
    await until(() => state.registered === 2);
    failures.next.push("FAILED_PRECONDITION");
    stop.abort();
    await life;
  });

  it("registers again when the orchestrator no longer knows it", async () => {
    const { orchestrator, state, failures } = twin();
    failures.next.push("UNAVAILABLE", "FAILED_PRECONDITION");
    begin(orchestrator);
    await until(() => state.registered === 2 && state.polls === 3);
  });

  it("does as many tasks at a time as it may, and no more", async () => {
    const { orchestrator, tasks, state } = twin();
    tasks.push(taskOf("a"), taskOf("b"), taskOf("c"));
    begin(orchestrator);
    await until(() => calls.length === 2);
    await delay(30);
    expect(calls).toHaveLength(2);
    await until(() => state.pulses.some(({ status, currentTaskId }) => status === "active" && currentTaskId === "a"));
    calls[0]?.finish("{}");
    await until(() => calls.length === 3);
  });

  it("reports until it is acknowledged", async () => {
    const { orchestrator, tasks, state, failures } = twin();
    failures.report.push("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL");
    tasks.push(taskOf("a"));
    begin(orchestrator);
    await until(() => calls.length === 1);
    calls[0]?.finish("{}");
    await until(() => state.reports.length === 1);
    expect(state.reports).toMatchObject([{ taskId: "a", success: true }]);
    expect(calls).toHaveLength(1);
  });

  it.each(["NOT_FOUND", "PERMISSION_DENIED"] as const)(
    "does not insist on a report that is refused with %s",
    async (code) => {
      const { orchestrator, tasks, state, failures } = twin();
      failures.report.push(code);
      tasks.push(taskOf("a"), taskOf("b"));
      begin(orchestrator);
      await until(() => calls.length === 2);
      calls[0]?.finish("{}");
      await until(() => failures.report.length === 0);
      calls[1]?.finish("{}");
      await until(() => state.reports.length === 1);
      expect(state.reports).toMatchObject([{ taskId: "b" }]);
    },
  );

  it("drops the report of a try when it is given the task anew", async () => {
    const { orchestrator, tasks, state, failures } = twin();
    failures.report.push(...Array<Code>(3).fill("UNAVAILABLE"));
    tasks.push(taskOf("a"));
    begin(orchestrator);
    await until(() => calls.length === 1);
    calls[0]?.finish('{"try":1}');
    await until(() => failures.report.length < 3);
    tasks.push(taskOf("a"));
    await until(() => calls.length === 2);
    await delay(400);
    failures.report.length = 0;
    calls[1]?.finish('{"try":2}');
    await until(() => state.reports.length > 0);
    expect(state.reports.map(({ output }) => String(output))).toEqual(['{"try":2}']);
  });
});

describe("an agent's service", () => {
  let folder: string;
  let close: () => void;
  let client: Client<typeof AgentService>;
  let ended: boolean;

  beforeEach(async () => {
    folder = mkdtempSync("/tmp/aios-agent-");
    ended = false;
    const end = () => {
      ended = true;
    };
    const agent = agentService(settings, work, systemClock, ownLoad(systemClock), end);
    const server = createServer([agent], () => coreIdentity("orchestrator"), silentLog);
    await listen(server, { path: `${folder}/agent.sock`, identity: coreIdentity("orchestrator"), mode: 0o600 });
    client = connect(AgentService, `unix:${folder}/agent.sock`);
    close = () => server.forceShutdown();
  });

  afterEach(() => {
    client.close();
    close();
    rmSync(folder, { recursive: true });
  });

  const task = (id: string) => TaskMessage.fromPartial({ id, inputJson: Buffer.from(taskOf(id).input) });

  it("runs a task, stops one, tells its state", async () => {
    const done = client.executeTask(task("a"));
    await until(() => calls.length === 1);
    expect(await client.getStatus({})).toMatchObject({ agentId: "system", status: "active", currentTaskId: "a" });
    calls[0]?.finish('{"size":1}');
    expect(await done).toMatchObject({ taskId: "a", success: true, outputJson: Buffer.from('{"size":1}') });
    const stopped = client.executeTask(task("b"));
    await until(() => calls.length === 2);
    expect(await client.cancelTask({ taskId: "b", reason: "enough" })).toMatchObject({ success: true });
    expect(await stopped).toMatchObject({ success: false, error: "enough", errorCode: "CANCELLED" });
    expect(await client.cancelTask({ taskId: "b", reason: "" })).toMatchObject({ success: false });
    const status = await client.getStatus({});
    expect(status).toMatchObject({ status: "idle", tasksCompleted: 1, tasksFailed: 1 });
    expect(status.memoryUsageMb).toBeGreaterThan(10);
  });

  it("stops a task whose caller has gone", async () => {
    await expect(client.executeTask(task("a"), { timeoutMs: 500 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await until(() => calls[0]?.signal.aborted === true);
  });

  it("refuses a task without an id", async () => {
    await expect(client.executeTask(task(""))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("ends when it is told to", async () => {
    expect(await client.shutdown({})).toMatchObject({ success: true });
    expect(ended).toBe(true);
  });
});

describe("the agents' program", () => {
  it("says what is wrong when somebody else starts it", () => {
    expect(() => readSettings(undefined, undefined)).toThrow(/the orchestrator starts agents/);
    expect(() => readSettings("system", "{")).toThrow(/start agent system/);
  });

  it("registers, does a task on its own sockets, and ends when its input closes", async () => {
    const folder = mkdtempSync("/tmp/aios-agent-");
    const own = `${folder}/agents/system`;
    mkdirSync(own, { recursive: true });
    const reports: string[] = [];
    const handouts = [TaskMessage.fromPartial({ id: "a", inputJson: Buffer.from(taskOf("a").input) })];
    const registered: string[] = [];
    const orchestrator = service(OrchestratorService, {
      registerAgent: ({ agentId }) => {
        registered.push(agentId);
        return { success: true, message: "" };
      },
      heartbeat: () => ({ success: true, message: "", pendingCommands: [] }),
      getAssignedTask: async (_, { signal }) => {
        while (handouts.length === 0 && !signal.aborted) await delay(5);
        return handouts.shift() ?? TaskMessage.create();
      },
      reportTaskResult: ({ taskId, success, outputJson }) => {
        reports.push(`${taskId} ${success} ${outputJson}`);
        return { success: true, message: "" };
      },
    });
    const registry = service(ToolRegistryService, {
      execute: ({ agentId, toolName }) => ({
        success: true,
        outputJson: Buffer.from(JSON.stringify(`${agentId} ${toolName}`)),
        error: "",
        executionId: "",
        durationMs: 0,
        backupId: "",
      }),
    });
    const servers = await Promise.all(
      Object.entries({ orchestrator, tools: registry }).map(async ([name, one]) => {
        const server = createServer([one], () => ({ kind: "agent", name: "system" }), silentLog);
        await listen(server, { path: `${own}/${name}.sock`, identity: coreIdentity("orchestrator"), mode: 0o600 });
        return server;
      }),
    );
    const child = spawn(process.execPath, [new URL("./main.ts", import.meta.url).pathname], {
      stdio: ["pipe", "ignore", "ignore"],
      env: {
        ...compiled,
        AIOS_RUN_DIR: folder,
        AIOS_AGENT: "system",
        AIOS_AGENT_SETTINGS: JSON.stringify(settings),
      },
    });
    const exit = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    await until(() => reports.length === 1);
    expect(registered).toEqual(["system"]);
    expect(reports).toEqual(['a true "system fs.read"']);
    child.stdin.end();
    expect(await exit).toBe(0);
    for (const server of servers) server.forceShutdown();
    rmSync(folder, { recursive: true });
  });
});
