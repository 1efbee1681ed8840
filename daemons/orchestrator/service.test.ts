import { mkdtempSync, rmSync } from "node:fs";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { loadReader } from "#lib/linux/proc";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, type Identity } from "#lib/rpc/service";
import { AgentRegistration, Task as TaskMessage, TaskResult } from "#proto/aios/common";
import { OrchestratorService } from "#proto/aios/orchestrator";
import type { AgentConfig } from "./agents/agent-config.ts";
import { agentGroups } from "./agents/agent-groups.ts";
import { openAgents } from "./agents/agents.ts";
import { openAssignments } from "./agents/assignments.ts";
import type { Goal } from "./goal.ts";
import { openChanges } from "./goals/changes.ts";
import { type Goals, openGoals } from "./goals/goals.ts";
import { plannerOver } from "./plans/planner.ts";
import { procedureSource } from "./plans/procedures/procedure-source.ts";
import { parseProcedure } from "./plans/procedures/procedures.ts";
import { orchestratorService } from "./service.ts";
import { furtherTwin } from "./testing/further-twin.ts";
import { type PortTwins, portTwins } from "./testing/port-twins.ts";

type Rpc = Client<typeof OrchestratorService>;

const folder = mkdtempSync("/tmp/aios-service-");
afterAll(() => rmSync(folder, { recursive: true }));

const procedure = parseProcedure(
  "hello",
  `[procedure]
summary = "s"
phrases = ["say {what}", "greet {what}"]
result = "Said \${say.said} and \${shout.said}."
[parameters]
what = "text"
[[steps]]
name = "say"
description = "Say it"
tool = "fs.say"
input = { what = "{what}" }
[[steps]]
name = "shout"
description = "Shout it"
tool = "fs.shout"
needs = ["say"]
input = { what = "\${say.said}" }
expect = { said = "{what}" }
`,
  "hello.toml",
);

let ports: PortTwins;
let core: Rpc;
let system: Rpc;
let dev: Rpc;
let operated: Goals;
const closing: (() => void)[] = [];

const configOf = (name: string): AgentConfig => ({
  ...{ name, type: name, role: "r", brief: "b", namespaces: ["fs"], standing: [], requestable: [] },
  ...{ concurrentTasksMax: 5, heartbeatIntervalMs: 1_000 },
  limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
  restart: { max: 1, windowMs: 1_000, delayMs: 1_000 },
});

async function socket(identity: Identity, orchestrator: Parameters<typeof orchestratorService>[0]): Promise<Rpc> {
  const server = createServer([orchestratorService(orchestrator)], () => identity, silentLog);
  const path = `${folder}/${identity.kind}-${identity.name}.sock`;
  await listen(server, { path, identity, mode: 0o600 });
  const client = connect(OrchestratorService, `unix:${path}`);
  closing.push(
    () => client.close(),
    () => server.forceShutdown(),
  );
  return client;
}

/** An orchestrator over the goals that are stored. */
async function open() {
  const assignments = openAssignments(() => {}, 60_000);
  const configs = [configOf("system"), configOf("dev")];
  const agents = openAgents(configs, systemClock, { lost: assignments.lose, hung: () => {} });
  const planner = plannerOver([procedureSource(() => ({ procedures: [procedure], faults: [] }))], async () => []);
  const unheard = { decided: () => {}, waits: () => {}, ended: () => {}, mayName: [] };
  const world = { ...ports, agents, assignments, clock: systemClock, log: silentLog, random: () => 0, ...unheard };
  operated = openGoals({ ...world, planner, changes: openChanges() });
  const load = loadReader("/proc", systemClock).read;
  const orchestrator = {
    ...{ goals: operated, agents, assignments },
    further: furtherTwin(operated, [configOf("system")], systemClock),
    commandsFor: async () => [],
    groupOf: agentGroups(undefined, configs, { clock: systemClock, log: silentLog }),
    restOf: (agent: string) => (agent === "dev" ? "too much" : ""),
    undoOf: async () => ({ words: "", executionIds: [] }),
    load,
    loadedModels: async () => ["m"],
  };
  closing.push(() => void operated.end(), assignments.end);
  core = await socket(coreIdentity("orchestrator"), orchestrator);
  system = await socket({ kind: "agent", name: "system" }, orchestrator);
  dev = await socket({ kind: "agent", name: "dev" }, orchestrator);
}

beforeEach(async () => {
  ports = portTwins();
  await open();
  await operated.resume();
});

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const request = { priority: 2, source: "", tags: [], metadataJson: Buffer.alloc(0), dependsOn: [], dedupeKey: "" };
const submit = async (description: string, by = core) => (await by.submitGoal({ ...request, description })).id;
const register = (rpc: Rpc, agentId: string) =>
  rpc.registerAgent(AgentRegistration.fromPartial({ agentId, agentType: agentId }));
const report = (rpc: Rpc, taskId: string, output: object) =>
  rpc.reportTaskResult(
    TaskResult.fromPartial({ taskId, success: true, outputJson: Buffer.from(JSON.stringify(output)) }),
  );
const statusOf = async (id: string) => (await core.getGoalStatus({ id })).goal?.status;

async function untilOver(id: string): Promise<void> {
  while ((await statusOf(id)) === "in_progress") await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("the orchestrator's service", () => {
  it("lists each agent with what it may use, and why it is held back", async () => {
    const [system, dev] = (await core.listAgents({})).agents;
    expect(system).toMatchObject({ agentId: "system", memoryMaxBytes: 67_108_864, reason: "" });
    expect(dev).toMatchObject({ agentId: "dev", reason: "its duties rest: too much" });
  });

  it("hands a task to an agent with its grants, takes the report, goes on to the next task, and tells the result", async () => {
    await register(system, "system");
    const id = await submit("say a*b");
    const first = await system.getAssignedTask({ id: "system" });
    expect(first).toMatchObject({
      goalId: id,
      assignedAgent: "system",
      requiredTools: ["fs.say"],
      intelligenceLevel: "reactive",
    });
    expect(JSON.parse(String(first.inputJson))).toMatchObject({ tool: "fs.say", arguments: { what: "a*b" } });
    expect([...ports.granted]).toEqual([[`system ${first.id}`, ["fs:say:a\\*b"]]]);
    expect(await core.getGoalStatus({ id })).toMatchObject({ currentPhase: "0 of 2 done: Say it", progressPercent: 0 });
    await report(system, first.id, { said: "a*b" });
    const second = await system.getAssignedTask({ id: "system" });
    expect(second.dependsOn).toEqual([first.id]);
    expect(await core.getSystemStatus({})).toMatchObject({
      activeGoals: 1,
      pendingTasks: 1,
      activeAgents: 1,
      loadedModels: ["m"],
      autonomyLevel: "full",
    });
    await report(system, second.id, { said: "a*b" });
    await untilOver(id);
    expect(await core.getGoalStatus({ id })).toMatchObject({
      goal: { status: "completed", result: "Said a*b and a*b." },
      progressPercent: 100,
    });
    expect(ports.granted.size).toBe(0);
  });

  it("fails a goal whose check does not hold, without trying again", async () => {
    await register(system, "system");
    const id = await submit("say yes");
    await report(system, (await system.getAssignedTask({ id: "system" })).id, { said: "yes" });
    await report(system, (await system.getAssignedTask({ id: "system" })).id, { said: "no" });
    await untilOver(id);
    expect(ports.goals.get(id)?.result).toBe('Shout it (fs.shout by agent system): said is "no", expected "yes"');
  });

  it.each([
    ["description", { description: "" }],
    ["description", { description: "  \n" }],
    ["description", { description: "x".repeat(4_097) }],
    ["priority", { priority: -1 }],
    ["priority", { priority: 4 }],
    ["metadata_json", { metadataJson: Buffer.from("{") }],
    ["metadata_json", { metadataJson: Buffer.from("[1]") }],
    ["metadata_json", { metadataJson: Buffer.from([0xff, 0xfe]) }],
    ["tags", { tags: [""] }],
    ["tags", { tags: Array(33).fill("t") }],
  ])("refuses a goal with a bad %s", async (field, bad) => {
    await expect(core.submitGoal({ ...request, description: "say x", ...bad })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(field),
    });
    expect(ports.goals.size).toBe(0);
  });

  it("takes a goal of the longest description, and keeps its tags and metadata", async () => {
    const metadataJson = Buffer.from('{"a":[1]}');
    const description = `say ${"x".repeat(4_092)}`;
    const { id } = await core.submitGoal({ ...request, description, tags: ["t"], metadataJson, source: "cli" });
    const { goal } = await core.getGoalStatus({ id });
    expect(goal).toMatchObject({ description, tags: ["t"], source: "core" });
    expect(JSON.parse(String(goal?.metadataJson))).toEqual({ a: [1] });
  });

  it("closes a goal that no procedure covers, with that reason", async () => {
    const id = await submit("brew some coffee");
    expect(await core.getGoalStatus({ id })).toMatchObject({
      goal: { status: "failed", result: expect.stringContaining('no procedure covers this goal: "brew some coffee"') },
      tasks: [],
    });
  });

  it("lets an agent act as itself only", async () => {
    await register(system, "system");
    const denied = { code: "PERMISSION_DENIED" };
    await expect(register(system, "dev")).rejects.toMatchObject(denied);
    await expect(system.getAssignedTask({ id: "dev" })).rejects.toMatchObject(denied);
    await expect(
      system.heartbeat({ agentId: "dev", status: "", currentTaskId: "", cpuUsage: 0, memoryUsageMb: 0 }),
    ).rejects.toMatchObject(denied);
    await expect(system.unregisterAgent({ id: "dev" })).rejects.toMatchObject(denied);
    await expect(core.getAssignedTask({ id: "system" })).rejects.toMatchObject(denied);
    await expect(report(core, "t", {})).rejects.toMatchObject(denied);
    await expect(
      system.submitGoal({ ...request, description: "say x", source: "operator:alice" }),
    ).rejects.toMatchObject(denied);
    await expect(system.listGoals({ statusFilter: "", limit: 0, offset: 0, cursor: "" })).rejects.toMatchObject(denied);
  });

  it("lets no agent report, see or cancel what is another's", async () => {
    await register(system, "system");
    await register(dev, "dev");
    const id = await submit("say x", dev);
    expect((await core.getGoalStatus({ id })).goal?.source).toBe("agent:dev");
    const [mine, other] = await Promise.race([
      system.getAssignedTask({ id: "system" }).then((task) => [task, dev] as const),
      dev.getAssignedTask({ id: "dev" }).then((task) => [task, system] as const),
    ]);
    await expect(report(other, mine.id, { said: "x" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(system.getGoalStatus({ id })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(system.cancelGoal({ id })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await dev.cancelGoal({ id })).toMatchObject({ success: true });
    expect(ports.goals.get(id)?.result).toBe("cancelled by agent:dev");
  });

  it("asks an agent that it does not know to register", async () => {
    await expect(system.getAssignedTask({ id: "system" })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    const beat = { agentId: "system", status: "idle", currentTaskId: "", cpuUsage: 0, memoryUsageMb: 0 };
    expect(await system.heartbeat(beat)).toMatchObject({ success: false, pendingCommands: ["register"] });
    await register(system, "system");
    expect(await system.heartbeat(beat)).toMatchObject({ success: true, pendingCommands: [] });
  });

  it("answers a poll that ended before there was a task, and gives the task to the next", async () => {
    await register(system, "system");
    await expect(system.getAssignedTask({ id: "system" }, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    const id = await submit("say x");
    const task = await system.getAssignedTask({ id: "system" });
    expect(task).not.toEqual(TaskMessage.create());
    expect(task.goalId).toBe(id);
  });

  it("says UNAVAILABLE while memory is away, and does not do what it did not take", async () => {
    await register(system, "system");
    ports.away = true;
    await expect(submit("say x")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    ports.away = false;
    await expect(system.getAssignedTask({ id: "system" }, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
  });

  it("takes up goals of the last run, also one that was not planned to its end", async () => {
    const id = await submit("say x");
    const unplanned = {
      ...(ports.goals.get(id) as Goal),
      id: "01a1fbc4-c9c5-736e-93a8-2a8e53065688",
      state: "planning" as const,
      tasks: [],
    };
    for (const close of closing.splice(0)) close();
    ports.goals.set(unplanned.id, unplanned);
    await open();
    await expect(submit("say y")).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("being loaded"),
    });
    await operated.resume();
    await register(system, "system");
    const tasks = await Promise.all([1, 2].map(() => system.getAssignedTask({ id: "system" })));
    expect(tasks.map(({ goalId }) => goalId).toSorted()).toEqual([unplanned.id, id].toSorted());
    expect(new Set(tasks.map((task) => task.id)).size).toBe(2);
  });

  it("revokes what agents were granted for the tasks of the last run", async () => {
    await register(system, "system");
    await submit("say x");
    await system.getAssignedTask({ id: "system" });
    expect(ports.granted.size).toBe(1);
    const [left] = ports.granted;
    for (const close of closing.splice(0)) close();
    await open();
    ports.granted.set(...(left as [string, string[]]));
    await operated.resume();
    expect(ports.granted.size).toBe(0);
    await register(system, "system");
    expect((await system.getAssignedTask({ id: "system" })).requiredTools).toEqual(["fs.say"]);
  });

  it("closes a goal whose tasks cannot be read, and takes up the others", async () => {
    const [bad, good] = await Promise.all([submit("say x"), submit("say y")]);
    for (const close of closing.splice(0)) close();
    ports.unreadable = bad;
    await open();
    await operated.resume();
    expect(ports.goals.get(bad)).toMatchObject({ state: "failed", result: "it cannot be taken up again: too large" });
    expect(await statusOf(good)).toBe("in_progress");
  });

  it.each([
    [{ statusFilter: "done", limit: 0, offset: 0, cursor: "" }, "status_filter"],
    [{ statusFilter: "", limit: 501, offset: 0, cursor: "" }, "limit"],
    [{ statusFilter: "", limit: 0, offset: -1, cursor: "" }, "offset"],
  ])("refuses to list %j", async (query, field) => {
    await expect(core.listGoals(query)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(field),
    });
  });

  it("knows no goal that there is not", async () => {
    await expect(core.getGoalStatus({ id: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(core.cancelGoal({ id: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(core.cancelGoal({ id: "" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("tells the machine's real load", async () => {
    // So that there is a load, also where nothing else runs.
    for (const end = performance.now() + 210; performance.now() < end; );
    const { memoryTotalMb, memoryUsedMb, cpuPercent, uptimeSeconds } = await core.getSystemStatus({});
    expect(memoryTotalMb).toBeGreaterThan(memoryUsedMb);
    expect(memoryUsedMb).toBeGreaterThan(10);
    expect(cpuPercent).toBeGreaterThan(0);
    expect(cpuPercent).toBeLessThanOrEqual(100);
    expect(uptimeSeconds).toBeGreaterThan(1);
  });

  it("keeps schedules for people, and none for agents", async () => {
    const wanted = { cronExpr: "0 3 * * *", goalTemplate: "say hello", priority: 2, timeZone: "" };
    await expect(system.createSchedule(wanted)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const { scheduleId } = await core.createSchedule(wanted);
    expect((await core.listSchedules({})).schedules).toMatchObject([
      { id: scheduleId, timeZone: "UTC", enabled: true },
    ]);
    await core.deleteSchedule({ scheduleId });
    expect((await core.listSchedules({})).schedules).toEqual([]);
  });

  it("grants an agent what it may ask for, and no other agent in its name", async () => {
    const wish = { agentId: "dev", capabilities: ["fs:read:/x"], reason: "to look", durationHours: 1 };
    await expect(system.requestCapability(wish)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const answer = await system.requestCapability({ ...wish, agentId: "system" });
    expect(answer).toMatchObject({ granted: false, denialReason: expect.stringContaining("requestable") });
  });

  it("takes progress and sub tasks from the agent that has the task, and from no other", async () => {
    await register(system, "system");
    const id = await submit("say hello");
    const { id: taskId } = await system.getAssignedTask({ id: "system" });
    const update = async function* (waitsFor = "") {
      yield { taskId, progress: 0.5, message: "half", waitsFor };
    };
    await expect(dev.streamProgress(update())).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(dev.streamProgress(update("approval-1"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    await system.streamProgress(update());
    const status = await core.getGoalStatus({ id });
    expect([status.progressPercent, status.currentPhase]).toEqual([25, expect.stringContaining("50 %, half")]);
    await system.streamProgress(update("approval-1"));
    const waiting = await core.getGoalStatus({ id });
    const currentPhase = expect.stringContaining("waits for a person, approval approval-1");
    expect(waiting).toMatchObject({ currentPhase, tasks: [{ id: taskId, waitsFor: "approval-1" }, {}] });
    expect(operated.waiting()).toEqual([expect.stringContaining("of fs.say (aiosctl approvals show approval-1)")]);
    const wish = { parentTaskId: taskId, description: "say more", targetAgent: "" };
    await expect(dev.requestSubTask(wish)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    const child = await system.requestSubTask(wish);
    const { goal } = await core.getGoalStatus({ id: child.goalId });
    expect(goal).toMatchObject({ source: "agent:system", tags: ["sub-task"] });
  });
});
