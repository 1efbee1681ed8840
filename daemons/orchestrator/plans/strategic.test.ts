import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { configSchema, parseToml } from "#lib/config/config";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { openPeer } from "#lib/testing/sockets";
import { ApiGatewayService, SecretsService } from "#proto/aios/api_gateway";
import { MemoryServiceService } from "#proto/aios/memory";
import type { ToolFacts } from "../tools.ts";
import { planCheck } from "./check-plan.ts";
import { gatewayThinker } from "./gateway-source.ts";
import { allowances, type Means, modelSource } from "./model-source.ts";
import { plannerOver } from "./planner.ts";

/** Strategic plans through aios-gateway as its own process, from servers that speak the providers' protocols. */

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = mkdtempSync("/tmp/aios-strategic-");
const key = "sk-test-0123456789abcdef";
let claude: ModelServer;
let openai: ModelServer;
let gateway: ChildProcess;
let closeMemory: () => void;

const facts: ToolFacts = {
  ...{
    name: "fs.read",
    summary: "Gives back a file's content.",
    capabilities: ["fs:read:{path}"],
    outputs: ["content"],
  },
  input: { properties: { path: { type: "string" } }, required: ["path"], additionalProperties: false },
  ...{ idempotent: true, timeoutMs: 1_000 },
};
const means: Means = {
  tools: async () => [facts],
  agents: () => [{ name: "system", role: "Files." }],
  covers: () => true,
  context: async () => "",
};

const planned = (path: string) => {
  const step = { name: "read", description: "Read it", tool: "fs.read", agent: "system", needs: [] };
  const steps = [{ ...step, input_json: JSON.stringify({ path }), expect_json: "{}" }];
  return JSON.stringify({ why: "it is a file", question: "", steps, result: "It is read." });
};

const planner = () => {
  const thinker = gatewayThinker(connect(ApiGatewayService, `unix:${socketPath(folder, "gateway", "orchestrator")}`));
  const check = planCheck({ find: async () => facts, covers: () => true });
  return plannerOver([modelSource(thinker, means, allowances.strategic, systemClock)], check);
};
const plan = async (description: string) => {
  const objective = { goalId: "g", description, answers: [], done: [], failure: "" };
  return (await planner().plan(objective, new AbortController().signal)).draft;
};

beforeAll(async () => {
  mkdirSync(`${folder}/gateway`);
  [claude, openai] = await Promise.all([openClaudeServer({ key }), openOpenaiServer({ key })]);
  const image = readFileSync(here("../../../rootfs/etc/aios/config.toml"), "utf8")
    .replace("[api.claude]\n", `[api.claude]\nbase_url = "${claude.url}"\n`)
    .replace("[api.openai]\n", `[api.openai]\nbase_url = "${openai.url}/v1"\n`)
    .replace("attempts_max = 3", "attempts_max = 1");
  writeFileSync(`${folder}/config.json`, JSON.stringify(parseToml(configSchema, image, "config.toml")));
  const memory = createServer(
    [service(MemoryServiceService, { pushEvent: () => ({}) })],
    () => coreIdentity("orchestrator"),
    silentLog,
  );
  await listen(memory, {
    path: openPeer(folder, "memory", "gateway"),
    identity: coreIdentity("orchestrator"),
    mode: 0o600,
  });
  closeMemory = () => memory.forceShutdown();
  for (const peer of ["orchestrator", "ctl"]) openPeer(folder, "gateway", peer);
  const env = { ...process.env, AIOS_RUN_DIR: folder, AIOS_STATE_DIR: folder };
  gateway = spawn(process.execPath, [here("../../gateway/main.ts")], { env, stdio: ["ignore", "inherit", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    gateway.stderr?.on("data", (data) => String(data).includes('"ready"') && resolve());
    gateway.once("exit", () => reject(new Error("the gateway ended")));
  });
});

afterAll(async () => {
  const gone = new Promise((resolve) => gateway.once("close", resolve));
  gateway.kill("SIGTERM");
  await gone;
  closeMemory();
  await Promise.all([claude.close(), openai.close()]);
  rmSync(folder, { recursive: true });
});

describe("a strategic plan", () => {
  it("is not asked for where no provider has a key", async () => {
    expect(await plan("read /a")).toEqual({
      reason: expect.stringMatching(/give a provider a key .*aiosctl secrets set/),
    });
    expect(claude.requests).toEqual([]);
  });

  it("comes from Claude, is asked for again when it is none, and from another when Claude is away", async () => {
    const secrets = connect(SecretsService, `unix:${socketPath(folder, "gateway", "ctl")}`);
    for (const name of ["claude", "openai"]) await secrets.setSecret({ name, value: key });
    claude.say({ text: planned("/a") });
    expect(await plan("read /a")).toMatchObject({ origin: expect.stringMatching(/^gateway claude \(claude-/) });
    expect(claude.requests[0]?.body.output_config.format).toMatchObject({ type: "json_schema" });

    claude.say({ text: "Here you are: {" }, { text: planned("/b") });
    expect(await plan("read /b")).toMatchObject({ steps: [{ input: { path: "/b" } }] });
    expect(claude.requests.at(-1)?.body.messages).toHaveLength(3);

    claude.say({ status: 529, message: "overloaded" });
    openai.say({ text: planned("/c") });
    expect(await plan("read /c")).toMatchObject({ origin: "gateway openai (gpt-4o)", level: "strategic" });
    expect(openai.requests[0]?.body.response_format).toMatchObject({ json_schema: { strict: true } });
  });

  it("is none once both have gone, with the reason", async () => {
    await Promise.all([claude.close(), openai.close()]);
    const draft = await plan("read /d");
    expect(draft).toEqual({ reason: expect.stringMatching(/^the strategic model: .*(claude|openai)/) });
  });
});
