import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { configSchema, parseToml } from "#lib/config/config";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer } from "#lib/testing/model-server";
import { openPeer } from "#lib/testing/sockets";
import { ApiGatewayService, SecretsService } from "#proto/aios/api_gateway";
import { type Event, MemoryServiceService } from "#proto/aios/memory";
import { request, theKey } from "./testing/twins.ts";

let folder: string;
let server: ModelServer;
let child: ChildProcess | undefined;
const events: Event[] = [];
const closing: (() => void)[] = [];
const pushEvent = (event: Event) => {
  events.push(event);
  return {};
};

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-gateway-main-");
  mkdirSync(join(folder, "gateway"));
  server = await openClaudeServer({ key: theKey });
  const memory = createServer(
    [service(MemoryServiceService, { pushEvent })],
    () => coreIdentity("orchestrator"),
    silentLog,
  );
  await listen(memory, {
    path: openPeer(folder, "memory", "gateway"),
    identity: coreIdentity("orchestrator"),
    mode: 0o600,
  });
  closing.push(() => memory.forceShutdown());
});
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await end();
  await server.close();
  rmSync(folder, { recursive: true });
});

/** Starts the daemon as it ships; resolves when it is ready. Everything it writes is in the result. */
async function start(): Promise<{ said: string }> {
  const output = { said: "" };
  for (const peer of ["console", "ctl"]) openPeer(folder, "gateway", peer);
  const env = { ...process.env, AIOS_RUN_DIR: folder, AIOS_STATE_DIR: folder, AIOS_LOG_LEVEL: "debug" };
  const main = new URL("./main.ts", import.meta.url).pathname;
  const started = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "pipe"] });
  child = started;
  await new Promise<void>((resolve, reject) => {
    for (const stream of [started.stdout, started.stderr])
      stream.on("data", (data) => {
        output.said += data;
        if (output.said.includes('"ready"')) resolve();
      });
    started.once("exit", () => reject(new Error(`it ended: ${output.said}`)));
  });
  return output;
}

async function end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  const running = child;
  child = undefined;
  if (running === undefined) return;
  const gone = new Promise((resolve) => running.once("close", resolve));
  running.kill(signal);
  await gone;
}

it("the daemon is ready without a provider, takes a key, asks, alerts the memory, and knows all of it after a restart", async () => {
  const image = readFileSync(new URL("../../rootfs/etc/aios/config.toml", import.meta.url), "utf8")
    .replace("[api.claude]\n", `[api.claude]\nbase_url = "${server.url}"\n`)
    .replace("monthly_budget_usd = 100.0", "monthly_budget_usd = 1.0")
    .replace("allow_outbound = true", "allow_outbound = false");
  writeFileSync(join(folder, "config.json"), JSON.stringify(parseToml(configSchema, image, "config.toml")));
  const open = () => {
    const clients = [
      connect(ApiGatewayService, `unix:${openPeer(folder, "gateway", "console")}`),
      connect(SecretsService, `unix:${openPeer(folder, "gateway", "ctl")}`),
    ] as const;
    closing.push(...clients.map((client) => () => client.close()));
    return clients;
  };
  const first = await start();
  const [gateway, secrets] = open();
  await expect(gateway.infer(request())).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  expect(statSync(join(folder, "gateway/secrets.key")).mode & 0o777).toBe(0o400);
  await secrets.setSecret({ name: "claude", value: theKey });
  server.say({ text: "yes", inputTokens: 100, outputTokens: 60_000 });
  expect(await gateway.infer(request())).toMatchObject({ text: "yes", costUsd: 0.9003 });
  await vi.waitFor(() => expect(events).toHaveLength(1));
  expect(events).toMatchObject([{ category: "event", source: "gateway", critical: true }]);
  expect(JSON.parse(String(events[0]?.dataJson))).toMatchObject({
    ...{ type: "budget_alert", provider: "claude", percent: 80, budget_usd: 1 },
  });
  server.say({ delayMs: 60_000 });
  const lost = gateway.infer(request({ prompt: "never answered", maxTokens: 16 })).catch((error: unknown) => error);
  await vi.waitFor(() => expect(server.requests).toHaveLength(2));
  await end("SIGKILL");
  expect(await lost).toMatchObject({ code: "UNAVAILABLE" });
  const second = await start();
  expect(second.said).toContain("were under way when the gateway ended");
  const [again] = open();
  const unsettled = await again.getUsage({ provider: "", model: "", requestingAgent: "", taskId: "", days: 0 });
  expect(unsettled.records.map(({ outcome }) => outcome)).toEqual(["unsettled", "answered"]);
  expect(unsettled.records[0]?.costUsd).toBeGreaterThanOrEqual((16 * 15) / 1_000_000);
  await expect(again.infer(request({ prompt: "another", maxTokens: 0, allowFallback: false }))).resolves.toBeDefined();
  expect((await again.getBudget({})).claudeUsedUsd).toBeGreaterThan(0.9);
  expect(events).toHaveLength(1);
  expect(first.said + second.said).not.toContain(theKey);
});
