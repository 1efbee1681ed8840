import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "#lib/client";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { createServer as createRpcServer, listen } from "#lib/server";
import { coreIdentity } from "#lib/service";
import { ApiGatewayService } from "#proto/aios/api_gateway";
import { openGateway, type Provider } from "./gateway.ts";
import { readKeys } from "./keys.ts";
import { claude, openai } from "./providers.ts";
import { gatewayService } from "./service.ts";
import { openUsage, type UsageStore } from "./usage.ts";

const clock = new ManualClock(Date.UTC(2026, 10, 21));
const settings = { model: "m", maxTokens: 64, monthlyBudgetUsd: 1, price: { inputUsd: 100_000, outputUsd: 200_000 } };
const prompt = {
  prompt: "hello",
  systemPrompt: "",
  maxTokens: 0,
  temperature: 0,
  preferredProvider: "",
  requestingAgent: "",
  taskId: "t",
  allowFallback: true,
  taskType: "",
};

let folder: string;
let store: UsageStore;
let provider: Server;
let baseUrl: string;
let answers: { status: number; body: unknown }[];
const closing: (() => void)[] = [];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-gateway-");
  store = openUsage(join(folder, "usage.db"), clock);
  answers = [];
  provider = createServer((_, response) => {
    const answer = answers.shift() ?? { status: 500, body: {} };
    response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
});

afterEach(() => {
  for (const close of closing.splice(0)) close();
  provider.close();
  store.close();
  rmSync(folder, { recursive: true });
});

async function client(providers: Provider[]) {
  const server = createRpcServer(
    [gatewayService(openGateway(providers, store, clock), coreIdentity)],
    () => coreIdentity,
    silentLog,
  );
  const path = join(folder, "gateway.sock");
  await listen(server, { path, identity: coreIdentity, mode: 0o600 });
  const gateway = connect(ApiGatewayService, `unix:${path}`);
  closing.push(
    () => gateway.close(),
    () => server.forceShutdown(),
  );
  return gateway;
}

describe("gateway", () => {
  it("says UNAVAILABLE and where a key goes when none is configured", async () => {
    const gateway = await client([claude({ ...settings, baseUrl }), openai({ ...settings, baseUrl })]);
    await expect(gateway.infer(prompt)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("api-keys.toml"),
    });
  });

  it("asks the provider, records the cost, and keeps it over a restart", async () => {
    answers.push({
      status: 200,
      body: { model: "m-1", content: [{ type: "text", text: "hi" }], usage: { input_tokens: 1, output_tokens: 2 } },
    });
    const gateway = await client([claude({ ...settings, baseUrl, apiKey: "k" })]);
    expect(await gateway.infer(prompt)).toMatchObject({ text: "hi", tokensUsed: 3, modelUsed: "m-1", costUsd: 0.5 });
    store.close();
    store = openUsage(join(folder, "usage.db"), clock);
    expect(store.since("claude", 30)).toMatchObject([{ taskId: "t", costUsd: 0.5, at: clock.now() }]);
  });

  it("refuses once the month's budget is spent, and shows it", async () => {
    store.add({
      provider: "openai",
      model: "m",
      inputTokens: 1,
      outputTokens: 1,
      costUsd: 2,
      at: clock.now(),
      agent: "a",
      taskId: "",
    });
    const gateway = await client([openai({ ...settings, baseUrl, apiKey: "k" })]);
    await expect(gateway.infer(prompt)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await gateway.getBudget({})).toMatchObject({
      openaiMonthlyBudgetUsd: 1,
      openaiUsedUsd: 2,
      budgetExceeded: true,
      daysRemaining: 9,
    });
    expect(await gateway.getUsage({ provider: "openai", days: 0 })).toMatchObject({
      totalRequests: 1,
      totalCostUsd: 2,
    });
  });

  it("does not count last month's spending", () => {
    store.add({
      provider: "claude",
      model: "m",
      inputTokens: 1,
      outputTokens: 1,
      costUsd: 9,
      at: Date.UTC(2026, 9, 31),
      agent: "a",
      taskId: "",
    });
    expect(store.spentThisMonth("claude")).toBe(0);
  });

  it("reports a provider's failure as UNAVAILABLE with its status", async () => {
    answers.push({ status: 529, body: {} });
    const gateway = await client([openai({ ...settings, baseUrl, apiKey: "k" })]);
    await expect(gateway.infer(prompt)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("529"),
    });
  });

  it.each([[{ ...prompt, preferredProvider: "nobody", allowFallback: false }, "no such provider"]])(
    "refuses bad input",
    async (request, reason) => {
      const gateway = await client([claude({ ...settings, baseUrl })]);
      await expect(gateway.infer(request)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining(reason),
      });
      await expect(gateway.getUsage({ provider: "", days: -1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    },
  );

  it("has no keys when there is no key file", () => {
    expect(readKeys(join(folder, "none.toml"))).toEqual({});
  });
});
