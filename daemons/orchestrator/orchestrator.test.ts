import { type ChildProcess, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { writeBundles } from "./testing/bundles.ts";
import { type MemoryTwin, memoryTwin, type ToolsTwin, type ToolTwin, toolsTwin } from "./testing/twins.ts";

const here = (path: string) => new URL(path, import.meta.url).pathname;
/** Two of the eight: each is a process. */
const agentNames = ["monitor", "system"];

const lib = mkdtempSync("/tmp/aios-programs-");
beforeAll(() => writeBundles(lib));
afterAll(() => rmSync(lib, { recursive: true }));

let folder: string;
let memory: MemoryTwin;
let tools: ToolsTwin;
let orchestrator: ChildProcess;
let client: Client<typeof OrchestratorService>;
let slow: { begun: number; release: () => void };

const config = {
  system: { hostname: "t", log_level: "info", autonomy_level: "full" },
};

beforeEach(async ({ onTestFailed }) => {
  onTestFailed(() => console.error(readFileSync(`${folder}/log`, "utf8")));
  folder = mkdtempSync("/tmp/aios-orchestrator-");
  for (const name of agentNames) mkdirSync(`${folder}/run/agents/${name}`, { recursive: true });
  cpSync(here("../../rootfs/etc/aios"), `${folder}/etc`, { recursive: true });
  for (const file of readdirSync(`${folder}/etc/agents`)) {
    if (!agentNames.includes(file.replace(".toml", ""))) rmSync(`${folder}/etc/agents/${file}`);
  }
  writeFileSync(`${folder}/run/config.json`, JSON.stringify(config));
  for (const name of ["slow", "once", "flaky", "brief", "counted"])
    writeFileSync(`${folder}/etc/procedures/test-${name}.toml`, procedure(name));
  memory = await memoryTwin(openPeer(`${folder}/run`, "memory", "orchestrator"));
  slow = { begun: 0, release: () => {} };
  tools = await toolsTwin(`${folder}/run`, agentNames, testTools());
  client = connect(OrchestratorService, `unix:${openPeer(`${folder}/run`, "orchestrator", "console")}`);
  orchestrator = start();
});

afterEach(async () => {
  await kill(orchestrator, "SIGKILL");
  client.close();
  tools.close();
  memory.close();
  rmSync(folder, { recursive: true });
});

function procedure(name: string): string {
  return `[procedure]
summary = "For this test."
phrases = ["do something ${name}"]
result = "Did \${work.count}, then wrote."
[[steps]]
name = "work"
description = "Work ${name}"
tool = "test.${name}"
agent = "system"
also = ["net:local:127.0.0.1"]
[[steps]]
name = "write"
description = "Write it down"
tool = "fs.write"
needs = ["work"]
input = { path = "${folder}/${name}.txt", content = "count \${work.count}" }
`;
}

function testTools(): Record<string, ToolTwin> {
  let flaky = 0;
  const wait = (signal: AbortSignal) => {
    slow.begun += 1;
    return new Promise((resolve, reject) => {
      slow.release = () => resolve({ count: slow.begun });
      signal.addEventListener("abort", () => reject(new Error("stopped")));
    });
  };
  const brief = () => new Promise((resolve) => setTimeout(() => resolve({ count: 1 }), 100));
  return {
    "test.brief": { capabilities: ["test:brief"], idempotent: true, run: brief },
    "test.counted": { capabilities: ["test:counted"], idempotent: false, run: brief },
    "test.slow": { capabilities: ["test:slow"], idempotent: true, run: (_, signal) => wait(signal) },
    "test.once": { capabilities: ["test:once"], idempotent: false, run: (_, signal) => wait(signal) },
    "test.flaky": {
      capabilities: [],
      idempotent: true,
      run: () => {
        flaky += 1;
        if (flaky < 3) throw new Error(`the dog ate it (${flaky})`);
        return { count: flaky };
      },
    },
  };
}

function start(): ChildProcess {
  return spawn(process.execPath, [`${lib}/orchestrator.cjs`], {
    stdio: ["ignore", "ignore", openSync(`${folder}/log`, "a")],
    env: {
      ...compiled,
      AIOS_RUN_DIR: `${folder}/run`,
      AIOS_STATE_DIR: `${folder}/state`,
      AIOS_ETC_DIR: `${folder}/etc`,
      AIOS_LIB_DIR: lib,
    },
  });
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

async function until<T>(what: () => Promise<T | false | undefined> | T | false | undefined): Promise<T> {
  const end = Date.now() + 60_000;
  for (;;) {
    const found = await Promise.resolve(what()).catch((error) =>
      Date.now() > end ? Promise.reject(error) : undefined,
    );
    if (found !== undefined && found !== false) return found as T;
    if (Date.now() > end) throw new Error(`it never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const request = { priority: 2, source: "", tags: [], metadataJson: Buffer.alloc(0), dependsOn: [], dedupeKey: "" };
const submit = async (description: string) => (await until(() => client.submitGoal({ ...request, description }))).id;

const ended = (id: string) =>
  until(async () => {
    const status = await client.getGoalStatus({ id });
    return ["completed", "failed", "cancelled"].includes(status.goal?.status ?? "") && status;
  });

const grantsLeft = () => [...tools.grants.values()].flatMap((tasks) => [...tasks.values()]);

const agentStatus = async (name: string) =>
  (await client.listAgents({})).agents.find(({ agentId }) => agentId === name)?.status;

/** The process of an agent, as the system knows it. */
function agentPid(name: string): number | undefined {
  const found = readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      return environment.includes(`AIOS_AGENT=${name}`) && environment.includes(`AIOS_RUN_DIR=${folder}/run`);
    } catch {
      return false;
    }
  });
  return found[0] === undefined ? undefined : Number(found[0]);
}

function killAgent(name: string): boolean {
  const pid = agentPid(name);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
  return pid !== undefined;
}

describe("orchestrator and agents, as processes", () => {
  it("bring a goal to its end by the right agents, and leave no grant", async () => {
    const path = `${folder}/disk.txt`;
    const status = await ended(await submit(`report disk usage to ${path}`));
    expect(status).toMatchObject({
      goal: {
        status: "completed",
        result: `Wrote the disk report to ${path}: 40 % of 10 GiB used, 6 GiB free.`,
        source: "core",
      },
      progressPercent: 100,
      tasks: [
        { assignedAgent: "monitor", status: "completed", requiredTools: ["monitor.disk"] },
        { assignedAgent: "system", status: "completed", requiredTools: ["fs.write"] },
        { assignedAgent: "system", status: "completed", requiredTools: ["fs.read"] },
      ],
    });
    expect(readFileSync(path, "utf8")).toContain("used       4 GiB (40 %)");
    expect(grantsLeft()).toEqual([]);
    expect(tools.calls.map(({ caller, tool, state }) => [caller, tool, state])).toEqual([
      ["system", "fs.read", "done"],
      ["system", "fs.write", "done"],
      ["monitor", "monitor.disk", "done"],
    ]);
  });

  it("take up a goal again after the orchestrator was killed: what may be repeated is, once", async () => {
    const id = await submit("do something slow");
    await until(() => slow.begun === 1);
    await kill(orchestrator, "SIGKILL");
    orchestrator = start();
    await until(() => slow.begun === 2);
    // What the plan grants beside is granted again, too.
    expect(grantsLeft()).toEqual([["test:slow", "net:local:127.0.0.1"]]);
    slow.release();
    expect(await ended(id)).toMatchObject({
      goal: { status: "completed" },
      tasks: [{ status: "completed" }, { status: "completed" }],
    });
    expect(slow.begun).toBe(2);
    expect(readFileSync(`${folder}/slow.txt`, "utf8")).toBe("count 2");
    expect(grantsLeft()).toEqual([]);
  });

  it("do not repeat a call that must not be: without its outcome the goal fails and says so", async () => {
    const id = await submit("do something once");
    await until(() => slow.begun === 1);
    await kill(orchestrator, "SIGKILL");
    orchestrator = start();
    const { goal, tasks } = await ended(id);
    expect(goal?.status).toBe("failed");
    expect(tasks[0]?.error).toMatch(/had begun.* must not be repeated/);
    expect(tasks[1]).toMatchObject({ status: "cancelled", error: expect.stringContaining("not done") });
    expect(slow.begun).toBe(1);
  });

  it("adopt the outcome that the ledger has of a call that must not be repeated", async () => {
    const id = await submit("do something once");
    await until(() => slow.begun === 1);
    orchestrator.kill("SIGSTOP");
    slow.release();
    await until(() => tools.calls[0]?.state === "done");
    await kill(orchestrator, "SIGKILL");
    orchestrator = start();
    expect(await ended(id)).toMatchObject({ goal: { status: "completed", result: "Did 1, then wrote." } });
    expect(slow.begun).toBe(1);
  });

  it("give the task of a killed agent to its successor, exactly once", async () => {
    const id = await submit("do something slow");
    await until(() => slow.begun === 1);
    expect(killAgent("system")).toBe(true);
    await until(() => slow.begun === 2);
    slow.release();
    const { goal, tasks } = await ended(id);
    expect(goal?.status).toBe("completed");
    expect(JSON.parse(String(memory.tasks.get(tasks[0]?.id ?? "")?.inputJson)).failures).toEqual([
      "agent system ended: killed by SIGKILL",
    ]);
    expect(slow.begun).toBe(2);
  });

  it("cancel a goal, the running call with it", async () => {
    const id = await submit("do something slow");
    await until(() => slow.begun === 1);
    expect(await client.cancelGoal({ id })).toMatchObject({ success: true });
    const { goal, tasks } = await client.getGoalStatus({ id });
    expect(goal).toMatchObject({ status: "cancelled", result: "cancelled by core" });
    expect(tasks).toMatchObject([
      { status: "cancelled", error: expect.stringContaining("may have had its effect") },
      { status: "cancelled", error: "not done: cancelled by core" },
    ]);
    await until(() => tools.calls[0]?.state === "failed");
    expect(grantsLeft()).toEqual([]);
    expect(await client.cancelGoal({ id })).toMatchObject({ success: true });
    await until(async () => (await agentStatus("system")) === "idle");
  });

  it("try a failing task again, and fail it with its whole reason", async () => {
    expect(await ended(await submit("do something flaky"))).toMatchObject({ goal: { result: "Did 3, then wrote." } });
    const { goal } = await ended(await submit(`read file ${folder}/none.txt`));
    expect(goal).toMatchObject({
      status: "failed",
      result: expect.stringMatching(/fs\.read by agent system.*ENOENT.*\(4 times\)/),
    });
    await expect(client.cancelGoal({ id: goal?.id ?? "" })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("work on while aios-memory and aios-tools are away for a moment", async () => {
    const id = await submit("do something slow");
    await until(() => slow.begun === 1);
    memory.close();
    slow.release();
    await until(() => tools.calls[0]?.state === "done");
    await expect(client.submitGoal({ ...request, description: "check system health" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    expect((await client.getGoalStatus({ id })).tasks[0]?.status).toBe("in_progress");
    memory = await memoryTwin(openPeer(`${folder}/run`, "memory", "orchestrator"), memory.goals, memory.tasks);
    expect(await ended(id)).toMatchObject({ goal: { status: "completed" } });
    expect(slow.begun).toBe(1);
  });

  it("wait for aios-memory before they take goals", async () => {
    await submit("check system health").then(ended);
    await kill(orchestrator, "SIGKILL");
    memory.close();
    orchestrator = start();
    await until(async () => (await agentStatus("system")) === "idle");
    await expect(client.submitGoal({ ...request, description: "check system health" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("being loaded"),
    });
    memory = await memoryTwin(openPeer(`${folder}/run`, "memory", "orchestrator"), memory.goals, memory.tasks);
    await submit("check system health");
  });

  it("bring every goal to an end, and do nothing twice that must not be, whoever is killed", async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, (_, n) => submit(`do something ${n % 2 ? "counted" : "brief"}`)),
    );
    for (let round = 0; round < 6; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 150 + 600 * Math.random()));
      if (round % 2 === 0) {
        await kill(orchestrator, "SIGKILL");
        orchestrator = start();
      } else {
        for (const name of agentNames) killAgent(name);
      }
    }
    const all = await Promise.all(ids.map(ended));
    for (const { goal, tasks } of all) {
      if (goal?.status === "failed") expect(tasks[0]?.error).toMatch(/must not be repeated/);
      else expect(goal?.status).toBe("completed");
    }
    const counted = tools.calls.filter(({ tool, state }) => tool === "test.counted" && state !== "refused");
    expect(counted.length).toBeGreaterThan(0);
    expect(new Set(counted.map(({ taskId }) => taskId)).size).toBe(counted.length);
    expect(grantsLeft()).toEqual([]);
  });

  it("end at once when told to, agents included", async () => {
    await until(async () => (await agentStatus("system")) === "idle");
    const pid = agentPid("system");
    const started = performance.now();
    await kill(orchestrator, "SIGTERM");
    expect(orchestrator.exitCode).toBe(0);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});
