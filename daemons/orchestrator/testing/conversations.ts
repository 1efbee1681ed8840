import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { systemClock } from "#lib/clock";
import { configSchema, parseToml } from "#lib/config/config";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, operatorHeader, roleHeader, service } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { compiled } from "#lib/testing/compiled";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { openPeer } from "#lib/testing/sockets";
import { SecretsService } from "#proto/aios/api_gateway";
import { InitService } from "#proto/aios/init";
import { EventJournalService } from "#proto/aios/journal";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService, ModelEntry, ModelStatus } from "#proto/aios/runtime";
import { type SessionEvent, SessionsService } from "#proto/aios/sessions";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthCheckResponse_ServingStatus, HealthService } from "#proto/grpc/health/v1/health";
import { writeBundles } from "./bundles.ts";

/**
 * For tests: conversations on the orchestrator, its agents, aios-memory, aios-tools and aios-gateway, each its own process; the model is a
 * server on loopback that says what a test wants, the runtime has the bring-up model alone.
 */

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = mkdtempSync("/tmp/aios-sessions-");
export const run = `${folder}/run`;
const agentNames = ["dev", "monitor", "network", "package", "security", "storage", "system", "task"];
const children = new Map<string, ChildProcess>();
const closers: (() => void)[] = [];
export const alice = { headers: { [operatorHeader]: "alice", [roleHeader]: "admin" } };
/** Says what a test wants. */
export let model: ModelServer;

export const client = <S extends Parameters<typeof connect>[0]>(definition: S, daemon: string, peer = "console") => {
  const made = connect(definition, `unix:${socketPath(run, daemon, peer)}`);
  closers.push(() => made.close());
  return made;
};
export const sessions = client(SessionsService, "orchestrator");
const tools = client(ToolRegistryService, "tools");

export function start(daemon: string): void {
  const file = daemon === "orchestrator" ? `${folder}/lib/orchestrator.cjs` : here(`../../${daemon}/main.ts`);
  const child = spawn(process.execPath, [file], {
    stdio: ["ignore", "ignore", openSync(`${folder}/${daemon}.log`, "a")],
    env: {
      ...{ AIOS_RUN_DIR: run, AIOS_ETC_DIR: `${folder}/etc`, AIOS_LIB_DIR: `${folder}/lib` },
      AIOS_STATE_DIR: `${folder}/state`,
      ...compiled,
    },
  });
  children.set(daemon, child);
}

export async function end(daemon: string, signal: NodeJS.Signals): Promise<void> {
  const child = children.get(daemon);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

export async function until<T>(what: () => Promise<T>): Promise<T> {
  for (const deadline = systemClock.now() + 30_000; ; ) {
    try {
      return await what();
    } catch (error) {
      if (systemClock.now() > deadline) throw error;
      await systemClock.sleep(50);
    }
  }
}

/** The orchestrator takes goals. */
export const serving = () =>
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

/** Starts all of it; before the tests of a file. */
export async function begin(): Promise<void> {
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
}

/** Ends all of it; after the tests of a file. */
export async function close(): Promise<void> {
  for (const daemon of ["orchestrator", ...children.keys()]) await end(daemon, "SIGTERM");
  for (const close of closers) close();
  await model.close();
  rmSync(folder, { recursive: true });
}

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

export const open = async (more: object = {}) =>
  (await sessions.openSession({ agent: "", level: "", name: "", ...more }, alice)).id;

export type What = NonNullable<SessionEvent["happening"]>;

/** What comes of something that was said; `onEvent` sees it as it comes. */
export async function heard(
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

export const say = (sessionId: string, text: string, onEvent?: (what: What) => unknown, branch = "") =>
  heard(sessions.say({ sessionId, branch, text, runId: "" }, alice), onEvent);

export const saying = (say: string, ...calls: readonly [tool: string, input: object][]) => ({
  text: JSON.stringify({ say, calls: calls.map(([tool, input]) => ({ tool, input_json: JSON.stringify(input) })) }),
});

export const execute = async (toolName: string, input: object) => {
  const inputJson = Buffer.from(JSON.stringify(input));
  const answer = await tools.execute({ toolName, agentId: "", taskId: "", inputJson, reason: "the test" }, alice);
  return answer.success ? JSON.parse(String(answer.outputJson)) : Promise.reject(new Error(answer.error));
};

export const at = (name: string) => `${folder}/data/${name}`;
export const answerOf = (all: readonly What[]) =>
  all.flatMap((one) => (one.$case === "over" ? [one.value.answer] : [])).at(-1);

/** From then on there is a model that can think. */
export async function giveKey(): Promise<void> {
  await client(SecretsService, "gateway", "ctl").setSecret({ name: "openai", value: "k" });
}
