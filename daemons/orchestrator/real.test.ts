import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, operatorHeader, roleHeader, service } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { GoalControlService } from "#proto/aios/goal_control";
import { InitService, Unit, UnitState } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { writeBundles } from "./testing/bundles.ts";

/** The orchestrator, its eight agents, aios-memory and aios-tools as on the machine, each its own process; only PID 1 is a twin. */

const here = (path: string) => new URL(path, import.meta.url).pathname;
const agentNames = ["dev", "monitor", "network", "package", "security", "storage", "system", "task"];
const folder = mkdtempSync("/tmp/aios-real-");
const children: ChildProcess[] = [];
let orchestrator: ChildProcess;
let client: Client<typeof OrchestratorService>;
let tools: Record<"orchestrator" | "console", Client<typeof ToolRegistryService>>;
let closeInit: () => void;

function start(daemon: string): ChildProcess {
  const child = spawn(
    process.execPath,
    [daemon === "orchestrator" ? `${folder}/lib/orchestrator.cjs` : here(`../${daemon}/main.ts`)],
    {
      stdio: ["ignore", "ignore", openSync(`${folder}/${daemon}.log`, "a")],
      env: {
        ...compiled,
        AIOS_RUN_DIR: `${folder}/run`,
        AIOS_ETC_DIR: here("../../rootfs/etc/aios"),
        AIOS_LIB_DIR: `${folder}/lib`,
        AIOS_STATE_DIR: `${folder}/state`,
      },
    },
  );
  children.push(child);
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

async function until<T>(what: () => Promise<T | false>): Promise<T> {
  for (const deadline = Date.now() + 60_000; ; ) {
    const found = await what().catch((error) => (Date.now() > deadline ? Promise.reject(error) : false));
    if (found !== false) return found as T;
    if (Date.now() > deadline) throw new Error(`it never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function initTwin(): Promise<() => void> {
  const units = [
    Unit.fromPartial({
      name: "memory",
      state: UnitState.UNIT_READY,
      pid: 7,
      startedAt: Date.now() - 5_000,
      reason: "ready",
    }),
  ];
  const init = service(InitService, {
    listUnits: () => ({ units }),
    getUnit: () => units[0] ?? Unit.create(),
  });
  const servers = ["orchestrator", "tools"].map(async (peer) => {
    const identity = coreIdentity(peer);
    const server = createServer([init], () => identity, silentLog);
    await listen(server, { path: openPeer(`${folder}/run`, "init", peer), identity, mode: 0o600 });
    return server;
  });
  const opened = await Promise.all(servers);
  return () => {
    for (const server of opened) server.forceShutdown();
  };
}

beforeAll(async () => {
  for (const name of agentNames) mkdirSync(`${folder}/run/agents/${name}`, { recursive: true });
  mkdirSync(`${folder}/lib`);
  mkdirSync(`${folder}/data`);
  await writeBundles(`${folder}/lib`);
  cpSync(here("../../proto/gen/descriptors.json"), `${folder}/lib/descriptors.json`);
  writeFileSync(`${folder}/run/config.json`, JSON.stringify(config));
  closeInit = await initTwin();
  openPeer(`${folder}/run`, "memory", "orchestrator");
  openPeer(`${folder}/run`, "tools", "orchestrator");
  openPeer(`${folder}/run`, "tools", "console");
  openPeer(`${folder}/run`, "orchestrator", "console");
  start("memory");
  start("tools");
  orchestrator = start("orchestrator");
  client = connect(OrchestratorService, `unix:${socketPath(`${folder}/run`, "orchestrator", "console")}`);
  const toolsAs = (peer: string) => connect(ToolRegistryService, `unix:${socketPath(`${folder}/run`, "tools", peer)}`);
  tools = { orchestrator: toolsAs("orchestrator"), console: toolsAs("console") };
});

afterAll(async () => {
  await end(orchestrator, "SIGTERM");
  await Promise.all(children.map((child) => end(child, "SIGTERM")));
  closeInit();
  client.close();
  for (const each of Object.values(tools)) each.close();
  rmSync(folder, { recursive: true });
});

const config = {
  system: { hostname: "t", log_level: "info", autonomy_level: "full" },
  memory: {
    operational_max_entries: 100,
    working_db: `${folder}/state/memory/working.db`,
    longterm_db: `${folder}/state/memory/longterm.db`,
    vector_db: `${folder}/state/vectors`,
  },
};

async function run(description: string) {
  const request = {
    description,
    priority: 2,
    source: "",
    tags: [],
    metadataJson: Buffer.alloc(0),
    dependsOn: [],
    dedupeKey: "",
  };
  const { id } = await until(() => client.submitGoal(request));
  return await until(async () => {
    const status = await client.getGoalStatus({ id });
    return ["completed", "failed", "cancelled"].includes(status.goal?.status ?? "") && status;
  });
}

/** Believed of the console alone. */
const person = { [operatorHeader]: "o", [roleHeader]: "admin" };

/** Calls a tool as the orchestrator, or as a person by the console. */
const execute = async (toolName: string, input: object, by: "orchestrator" | "console" = "orchestrator") => {
  const request = { toolName, agentId: "", taskId: "", inputJson: Buffer.from(JSON.stringify(input)), reason: "test" };
  return JSON.parse(String((await tools[by].execute(request, { headers: person })).outputJson));
};

const path = `${folder}/data/report.txt`;

describe("goals on real daemons", () => {
  it("find all eight agents", async () => {
    await until(async () => (await client.listAgents({})).agents.every(({ status }) => status === "idle"));
    expect((await client.listAgents({})).agents.map(({ agentId }) => agentId)).toEqual(agentNames);
  });

  it.each([
    [
      `report disk usage to ${path}`,
      /^Wrote the disk report to .*: [\d.]+ % of [\d.]+ GiB used/,
      /^Disk usage of \/\n {2}used +[\d.]+ GiB/,
    ],
    [`report memory usage to ${path}`, /[\d.]+ % of \d+ MiB used/, /^Memory usage\n/],
    [`report cpu usage to ${path}`, /% busy on \d+ cores/, /load +[\d.]+, [\d.]+, [\d.]+ \(over/],
    [`report hardware to ${path}`, /MiB of memory, GPU: /, /^Hardware\n {2}processor {2}\S/],
    [
      `create file ${path} with content "hello, \${disk.percent} {path}"`,
      /^Wrote 29 bytes/,
      /^hello, \$\{disk\.percent\} \{path\}$/,
    ],
    [`read file ${path}`, /29 bytes:\nhello/, /hello/],
    [`list files in ${folder}/data`, /has 1 entries\.\n {2}report\.txt {2}\(file, 29 bytes\)/, /hello/],
    ["check system health", /^Processors [\d.]+ % busy .*\nServices:\n {2}memory {2}ready$/, /hello/],
    ["status of service memory", /^Service memory is ready, up for \d+ s/, /hello/],
  ])("%s", async (description, result, content) => {
    const status = await run(description);
    expect(status.goal, JSON.stringify(status)).toMatchObject({
      status: "completed",
      result: expect.stringMatching(result),
    });
    expect(readFileSync(path, "utf8")).toMatch(content);
  });

  it("fail with the tool's own words when it cannot be done", async () => {
    const { goal } = await run(`read file ${folder}/data/none`);
    expect(goal).toMatchObject({ status: "failed", result: expect.stringMatching(/it does not exist \(ENOENT\)$/) });
  });

  it("are refused what a name does not cover: a link is not followed out of it", async () => {
    const link = `${folder}/data/link`;
    symlinkSync("/etc/hostname", link);
    const { goal, tasks } = await run(`read file ${link}`);
    expect(goal?.status).toBe("failed");
    expect(tasks[0]?.error).toMatch(/PERMISSION_DENIED/);
    rmSync(link);
  });

  it("that an agent gives get it no further than it comes by itself: a person is asked, also about reading", async () => {
    const dev = connect(OrchestratorService, `unix:${folder}/run/agents/dev/orchestrator.sock`);
    const victim = `${folder}/data/victim`;
    writeFileSync(victim, "whole");
    const wishes = [`delete file ${victim}`, `create file ${victim} with content "less"`, `read file ${victim}`];
    for (const description of wishes) {
      const wish = { ...{ description, priority: 2, source: "", tags: [], dependsOn: [] }, dedupeKey: "" };
      const { id } = await dev.submitGoal({ ...wish, metadataJson: Buffer.alloc(0) });
      const ticket = await until(async () => (await client.getGoalStatus({ id })).tasks[0]?.waitsFor || false);
      expect((await execute("sec.approvals", {})).waiting).toMatchObject([
        { id: ticket, reason: expect.stringContaining("(for agent:dev)") },
      ]);
      await execute("sec.deny", { id: ticket, reason: "no" }, "console");
      const { goal } = await until(async () => {
        const status = await client.getGoalStatus({ id });
        return status.goal?.status === "failed" && status;
      });
      expect(goal?.result).toMatch(/PERMISSION_DENIED.*denied it: no/);
    }
    expect(readFileSync(victim, "utf8")).toBe("whole");
    dev.close();
    rmSync(victim);
  });

  it("leave no grant behind, and a ledger that verifies", async () => {
    for (const agent of agentNames) {
      expect(await execute("sec.capabilities", { agent_id: agent })).toEqual({ capabilities: [] });
    }
    expect(await execute("sec.verify_ledger", {})).toMatchObject({ valid: true, problems: [] });
  });

  it("are all told after a restart, by page and by state", async () => {
    await end(orchestrator, "SIGKILL");
    orchestrator = start("orchestrator");
    const { goal } = await run("brew some coffee");
    expect(goal).toMatchObject({ status: "failed", result: expect.stringContaining("no procedure covers this goal") });
    const all = await client.listGoals({ statusFilter: "", limit: 500, offset: 0, cursor: "" });
    const some = await client.listGoals({ statusFilter: "", limit: 2, offset: 3, cursor: "" });
    expect(some).toMatchObject({ total: all.total, goals: all.goals.slice(3, 5) });
    expect(all.goals[0]?.description).toBe("brew some coffee");
    const failed = await client.listGoals({ statusFilter: "failed", limit: 0, offset: 0, cursor: "" });
    expect(failed.goals.map(({ description }) => description)).toContain("brew some coffee");
    expect(failed.total).toBe(6);
  });

  it("are reached in the way that has worked before, also before the restart, and can be explained", async () => {
    const control = connect(GoalControlService, `unix:${socketPath(`${folder}/run`, "orchestrator", "console")}`);
    const { goal } = await run("status of the service memory");
    const { text, decisions, tasks } = await until(() => control.explainGoal({ id: goal?.id ?? "" }));
    const again = await run("status of service memory");
    const second = await control.explainGoal({ id: again.goal?.id ?? "" });
    control.close();
    // Said a little differently, before the orchestrator was killed.
    const learned = { chosen: "learned procedure service-status", level: "reactive", model: "" };
    expect(decisions).toMatchObject([{ ...learned, why: expect.stringContaining("worked the one time") }]);
    expect(text).toMatch(/Execution [0-9a-f-]{36}: done/);
    expect(tasks).toMatchObject([{ executions: [{ state: "done" }], failures: [] }]);
    expect(second.decisions).toMatchObject([{ ...learned, why: expect.stringContaining("worked 2 of 2 times") }]);
  });
});
