import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configSchema, parseToml } from "#lib/config/config";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, operatorHeader, roleHeader, service } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { openPeer } from "#lib/testing/sockets";
import { SecretsService } from "#proto/aios/api_gateway";
import { AutonomyService } from "#proto/aios/autonomy";
import { InitService } from "#proto/aios/init";
import { EventJournalService } from "#proto/aios/journal";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService, ModelEntry, ModelStatus } from "#proto/aios/runtime";
import { type SessionEvent, SessionsService } from "#proto/aios/sessions";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthCheckResponse_ServingStatus, HealthService } from "#proto/grpc/health/v1/health";
import { writeBundles } from "../testing/bundles.ts";

/**
 * Conversations on the orchestrator, its agents, aios-memory, aios-tools and aios-gateway, each its own process; the model is a
 * server on loopback that says what a test wants, the runtime has the bring-up model alone.
 */

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = mkdtempSync("/tmp/aios-sessions-");
const run = `${folder}/run`;
const agentNames = ["dev", "monitor", "network", "package", "security", "storage", "system", "task"];
const children = new Map<string, ChildProcess>();
const closers: (() => void)[] = [];
const alice = { headers: { [operatorHeader]: "alice", [roleHeader]: "admin" } };
let model: ModelServer;

const client = <S extends Parameters<typeof connect>[0]>(definition: S, daemon: string, peer = "console") => {
  const made = connect(definition, `unix:${socketPath(run, daemon, peer)}`);
  closers.push(() => made.close());
  return made;
};
const sessions = client(SessionsService, "orchestrator");
const tools = client(ToolRegistryService, "tools");

function start(daemon: string): void {
  const file = daemon === "orchestrator" ? `${folder}/lib/orchestrator.mjs` : here(`../../${daemon}/main.ts`);
  const child = spawn(process.execPath, [file], {
    stdio: ["ignore", "ignore", openSync(`${folder}/${daemon}.log`, "a")],
    env: {
      ...{ AIOS_RUN_DIR: run, AIOS_ETC_DIR: `${folder}/etc`, AIOS_LIB_DIR: `${folder}/lib` },
      AIOS_STATE_DIR: `${folder}/state`,
    },
  });
  children.set(daemon, child);
}

async function end(daemon: string, signal: NodeJS.Signals): Promise<void> {
  const child = children.get(daemon);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

async function until<T>(what: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + 30_000; ; ) {
    try {
      return await what();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The orchestrator takes goals. */
const serving = () =>
  until(async () => {
    const { status } = await client(HealthService, "orchestrator").check({ service: "" });
    if (status !== HealthCheckResponse_ServingStatus.SERVING) throw new Error("it does not serve yet");
  });

/** PID 1 and the runtime, as small as they can be. */
async function twins(): Promise<void> {
  const bringUp = ModelStatus.fromPartial({
    ...{ modelName: "aios-bringup", status: "ready", level: "operational" },
    entry: ModelEntry.fromPartial({ name: "aios-bringup", role: "bring-up" }),
  });
  const runtime = service(AIRuntimeService, {
    listModels: () => ({ models: [bringUp], gpu: undefined }),
    infer: () => {
      throw new AiosError("FAILED_PRECONDITION", "infer: there is no tactical model");
    },
  } as never);
  const init = service(InitService, { listUnits: () => ({ units: [] }), holdServices: () => ({}) });
  const listeners = [
    ["runtime", runtime, "orchestrator"],
    ["init", init, "orchestrator"],
    // What agents have defined is held there.
    ["init", init, "tools"],
  ] as const;
  for (const [name, twin, peer] of listeners) {
    const identity = coreIdentity(peer);
    const server = createServer([twin], () => identity, silentLog);
    await listen(server, { path: openPeer(run, name, peer), identity, mode: 0o600 });
    closers.push(() => server.forceShutdown());
  }
}

beforeAll(async () => {
  for (const name of agentNames) mkdirSync(`${run}/agents/${name}`, { recursive: true });
  for (const daemon of ["memory", "tools", "gateway", "orchestrator"])
    for (const peer of ["orchestrator", "console", "ctl"]) openPeer(run, daemon, peer);
  for (const made of ["lib", "data", "state/gateway"]) mkdirSync(`${folder}/${made}`, { recursive: true });
  cpSync(here("../../../rootfs/etc/aios"), `${folder}/etc`, { recursive: true });
  writeFileSync(`${folder}/etc/procedures/greet.toml`, greeting);
  await writeBundles(`${folder}/lib`);
  model = await openOpenaiServer({ key: "k" });
  const image = readFileSync(`${folder}/etc/config.toml`, "utf8")
    .replace("[api.openai]\n", `[api.openai]\nbase_url = "${model.url}/v1"\n`)
    .replace("attempts_max = 3", "attempts_max = 1");
  const config = parseToml(configSchema, image, "config.toml");
  const memory = {
    ...config.memory,
    ...{ working_db: `${folder}/state/memory/working.db`, longterm_db: `${folder}/state/memory/longterm.db` },
    vector_db: `${folder}/state/vectors`,
  };
  writeFileSync(`${run}/config.json`, JSON.stringify({ ...config, memory }));
  await twins();
  for (const daemon of ["memory", "tools", "gateway", "orchestrator"]) start(daemon);
  const orchestrator = client(OrchestratorService, "orchestrator");
  await until(() => client(SecretsService, "gateway", "ctl").listSecrets({}));
  await until(() => client(EventJournalService, "memory").head({ sessionId: "s", branchId: "" }));
  await until(() => tools.listTools({ namespace: "fs" }));
  await serving();
  await until(async () => {
    const { status } = await client(HealthService, "orchestrator").check({ service: "" });
    if (status !== HealthCheckResponse_ServingStatus.SERVING) throw new Error("goals are not taken yet");
  });
  await until(async () => {
    const { agents } = await orchestrator.listAgents({});
    if (agents.length < 8 || agents.some(({ status }) => status !== "idle")) throw new Error("not all are there");
  });
}, 60_000);

afterAll(async () => {
  for (const daemon of ["orchestrator", ...children.keys()]) await end(daemon, "SIGTERM");
  for (const close of closers) close();
  await model.close();
  rmSync(folder, { recursive: true });
});

const greeting = `[procedure]
summary = "Greets somebody in a file."
phrases = ["greet somebody", "greet {name}"]
result = "Greeted {name}."

[parameters]
name = "text"

[questions]
name = "Who is to be greeted?"

[[steps]]
name = "write"
description = "Write the greeting"
tool = "fs.write"
agent = "system"
input = { path = "${folder}/data/greeting.txt", content = "hello {name}" }
`;

const open = async (more: object = {}) =>
  (await sessions.openSession({ agent: "", level: "", name: "", ...more }, alice)).id;

type What = NonNullable<SessionEvent["happening"]>;

/** What comes of something that was said; `onEvent` sees it as it comes. */
async function heard(
  events: AsyncIterable<SessionEvent>,
  onEvent: (what: What) => unknown = () => {},
): Promise<What[]> {
  const all: What[] = [];
  for await (const { happening } of events) {
    if (happening === undefined) continue;
    all.push(happening);
    await onEvent(happening);
  }
  return all;
}

const say = (sessionId: string, text: string, onEvent?: (what: What) => unknown) =>
  heard(sessions.say({ sessionId, text, runId: "" }, alice), onEvent);

const saying = (say: string, ...calls: readonly [tool: string, input: object][]) => ({
  text: JSON.stringify({ say, calls: calls.map(([tool, input]) => ({ tool, input_json: JSON.stringify(input) })) }),
});

const execute = async (toolName: string, input: object) => {
  const inputJson = Buffer.from(JSON.stringify(input));
  const answer = await tools.execute({ toolName, agentId: "", taskId: "", inputJson, reason: "the test" }, alice);
  return answer.success ? JSON.parse(String(answer.outputJson)) : Promise.reject(new Error(answer.error));
};

const at = (name: string) => `${folder}/data/${name}`;
const answerOf = (all: readonly What[]) =>
  all.flatMap((one) => (one.$case === "over" ? [one.value.answer] : [])).at(-1);

describe("a conversation without a model that can think", () => {
  it("makes a goal of words that a procedure covers, and tells what came of it", async () => {
    const id = await open({ name: "reports" });
    const all = await say(id, `report memory usage to ${at("memory.txt")}`);
    expect(all.map(({ $case }) => $case)).toEqual(["said", "asked", "ended", "said", "over"]);
    expect(answerOf(all)).toMatch(/[\d.]+ % of \d+ MiB used/);
    expect(readFileSync(at("memory.txt"), "utf8")).toMatch(/^Memory usage/);
    const goals = await client(OrchestratorService, "orchestrator").listGoals({
      ...{ statusFilter: "", limit: 1, offset: 0, cursor: "" },
    });
    expect(goals.goals[0]).toMatchObject({ source: "operator:alice", tags: ["session"], status: "completed" });
    const view = await sessions.getSession({ id }, alice);
    expect(view).toMatchObject({ name: "reports", agent: "task", owner: "operator:alice", state: "idle" });
    expect(view.turns.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    expect((await sessions.listSessions({ limit: 0, cursor: "" }, alice)).sessions[0]).toMatchObject({
      id,
      name: "reports",
    });
  });

  it("takes no word of who may do less than the person whose conversation it is", async () => {
    const as = (role: string) => ({ headers: { [operatorHeader]: "alice", [roleHeader]: role } });
    const { id } = await sessions.openSession({ agent: "task", level: "", name: "" }, as("admin"));
    const speak = async () => {
      for await (const _ of sessions.say({ sessionId: id, text: "greet somebody", runId: "" }, as("operator"))) return;
    };
    await expect(speak()).rejects.toThrow("it is a conversation of one who is admin");
  });

  it("asks what a goal asks, and passes on the answer", async () => {
    const id = await open();
    expect(answerOf(await say(id, "greet somebody"))).toBe("Who is to be greeted?");
    expect(answerOf(await say(id, "Ada Lovelace"))).toBe("Greeted Ada Lovelace.");
    expect(readFileSync(at("greeting.txt"), "utf8")).toBe("hello Ada Lovelace");
    const other = await open();
    await say(other, "greet somebody");
    expect(answerOf(await say(other, "never mind"))).toBe("It is cancelled.");
    expect(readFileSync(at("greeting.txt"), "utf8")).toBe("hello Ada Lovelace");
  });

  it("says of anything else why it cannot, and what helps", async () => {
    const answer = answerOf(await say(await open(), "write me a poem about the sea"));
    expect(answer).toContain("no model here that could think");
    expect(answer).toMatch(/near it are .*aiosctl goal known/);
    expect(answer).toContain("aiosctl secrets set");
  });
});

describe("a conversation with a model", () => {
  beforeAll(async () => {
    await client(SecretsService, "gateway", "ctl").setSecret({ name: "openai", value: "k" });
  });

  it("looks by the agent's tools, without asking; what they gave is told to the model as data", async () => {
    writeFileSync(at("note.txt"), "the cellar is wet");
    model.say(saying("I look.", ["fs.read", { path: at("note.txt") }]), saying("The cellar is wet."));
    const id = await open();
    const all = await say(id, "what does the note say?");
    expect(all.map(({ $case }) => $case)).toEqual(["said", "said", "asked", "ended", "said", "over"]);
    expect(answerOf(all)).toBe("The cellar is wet.");
    expect(JSON.stringify(model.requests.at(-1)?.body.messages)).toMatch(/<data-\w+ from=..tool..>.*the cellar is wet/);
    const [asked] = all.flatMap((one) => (one.$case === "asked" ? [one.value.callId] : []));
    const { entries } = await execute("sec.audit", { execution_id: asked });
    expect(entries).toMatchObject([{ caller: "task", caller_kind: "agent", tool: "fs.read", state: "done" }]);
    expect((await sessions.getSession({ id }, alice)).tokensLeft).toBeLessThan(1_000_000);
  });

  it("asks a person before it changes anything, who sees what would change; and leaves no grant", async () => {
    const path = at("shopping.txt");
    model.say(saying("", ["fs.write", { path, content: "milk\n" }]), saying("It is on the list."));
    const seen: string[] = [];
    const all = await say(await open(), "put milk on the list", async (what) => {
      if (what.$case !== "waits") return;
      const { waiting } = await execute("sec.approvals", {});
      seen.push(...waiting.map(({ preview }: { preview: string }) => preview));
      expect(waiting).toMatchObject([{ id: what.value.approvalId, agent_id: "task", tool: "fs.write" }]);
      expect(existsSync(path)).toBe(false);
      await execute("sec.approve", { id: what.value.approvalId, digest: waiting[0].digest });
    });
    expect(seen).toEqual([expect.stringContaining("+milk")]);
    expect(answerOf(all)).toBe("It is on the list.");
    expect(readFileSync(path, "utf8")).toBe("milk\n");
    expect(await execute("sec.capabilities", { agent_id: "task" })).toEqual({ capabilities: [] });
  });

  it("is told no, with the reason", async () => {
    model.say(saying("", ["fs.write", { path: at("no.txt"), content: "x" }]), saying("Then not."));
    const all = await say(await open(), "write no", async (what) => {
      if (what.$case === "waits") await execute("sec.deny", { id: what.value.approvalId, reason: "not today" });
    });
    expect(all).toContainEqual({
      $case: "ended",
      value: expect.objectContaining({ status: "error", error: expect.stringContaining("not today") }),
    });
    expect(existsSync(at("no.txt"))).toBe(false);
  });

  it("makes no goal of other words than the person's, and calls no tool that its agent has not", async () => {
    model.say(
      saying("", ["goal.give", { description: `create file ${at("evil.txt")} with content evil` }]),
      saying("I may not."),
    );
    const all = await say(await open(), "tidy up a little");
    expect(all).toContainEqual({
      $case: "ended",
      value: expect.objectContaining({ tool: "goal.give", error: expect.stringContaining("word for word") }),
    });
    expect(answerOf(all)).toBe("I may not.");
    expect(existsSync(at("evil.txt"))).toBe(false);
    const before = model.requests.length;
    model.say(saying("", ["fs.write", { path: at("evil.txt"), content: "x" }]), saying("Neither."));
    await say(await open({ agent: "network" }), "tidy up a little");
    expect(model.requests.length).toBeGreaterThan(before);
    expect(existsSync(at("evil.txt"))).toBe(false);
  });

  it("goes on after the orchestrator was killed while a person is asked: the call is made once", async () => {
    const path = at("lines.txt");
    writeFileSync(path, "");
    model.say(saying("", ["fs.append", { path, content: "once\n" }]), saying("Added."));
    const id = await open();
    const waits = Promise.withResolvers<string>();
    const cut = say(id, "add a line", (what) => what.$case === "waits" && waits.resolve(what.value.approvalId));
    cut.catch(() => {});
    const approval = await waits.promise;
    await end("orchestrator", "SIGKILL");
    await expect(cut).rejects.toThrow();
    start("orchestrator");
    await serving();
    const [{ digest }] = (await execute("sec.approvals", {})).waiting;
    await until(async () => await execute("sec.approve", { id: approval, digest }));
    const all = await until(
      async () => await heard(sessions.followSession({ sessionId: id, afterSequence: 0 }, alice)),
    );
    expect(answerOf(all)).toBe("Added.");
    expect(readFileSync(path, "utf8")).toBe("once\n");
    const { events } = await client(EventJournalService, "memory").read({
      ...{ sessionId: id, branchId: "main", fromSequence: 1, limit: 500 },
    });
    const kinds = events.map(({ eventJson }) => JSON.parse(String(eventJson)).kind.type);
    expect(kinds.filter((kind) => kind === "ToolCallStarted")).toHaveLength(1);
    expect(await execute("sec.verify_ledger", {})).toMatchObject({ valid: true, problems: [] });
  }, 60_000);

  it("can be interrupted: what waits for a person is not done", async () => {
    model.say(saying("", ["fs.write", { path: at("stopped.txt"), content: "x" }]));
    const id = await open();
    const all = await say(id, "write it", async (what) => {
      if (what.$case === "waits") await sessions.interruptSession({ id }, alice);
    });
    expect(all.at(-1)).toMatchObject({
      $case: "over",
      value: { status: "finished", reason: expect.stringMatching(/interrupted/) },
    });
    expect(existsSync(at("stopped.txt"))).toBe(false);
    await sessions.closeSession({ id }, alice);
    await expect(say(id, "still there?")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("is ended by an emergency stop, and nothing is begun until it is over", async () => {
    const autonomy = client(AutonomyService, "orchestrator");
    model.say(saying("", ["fs.write", { path: at("late.txt"), content: "x" }]));
    const id = await open();
    const all = await say(id, "write it late", async (what) => {
      if (what.$case === "waits") await autonomy.emergencyStop({ reason: "the test" }, alice);
    });
    expect(all.at(-1)).toMatchObject({ $case: "over", value: { reason: expect.stringContaining("stopped") } });
    await expect(say(id, "now?")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await autonomy.emergencyResume({}, alice);
    expect(existsSync(at("late.txt"))).toBe(false);
  });
});

describe("bad requests", () => {
  it("are refused with what is wrong", async () => {
    const refused = async (act: Promise<unknown>, code: string, message: RegExp) =>
      await expect(act).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await refused(open({ agent: "cook" }), "NOT_FOUND", /agent cook: there are dev, monitor/);
    await refused(open({ level: "genius" }), "INVALID_ARGUMENT", /operational, tactical, strategic/);
    await refused(open({ name: "x".repeat(201) }), "INVALID_ARGUMENT", /at most 200/);
    await refused(say("0193aaaa-0000-7000-8000-000000000000", "hello"), "NOT_FOUND", /aiosctl chat list/);
    await refused(say("", "hello"), "INVALID_ARGUMENT", /it is empty/);
    await refused(say(await open(), ""), "INVALID_ARGUMENT", /1 to 65536 characters/);
    const agent = connect(SessionsService, `unix:${run}/agents/task/orchestrator.sock`);
    await refused(agent.openSession({ agent: "", level: "", name: "" }), "PERMISSION_DENIED", /not for agent:task/);
    agent.close();
  });
});
