import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import type { GatewaySettings, ProviderSettings } from "./settings.ts";
import { drain, HastyClock, openTwin, provider, request, settings, type Twin, theKey } from "./testing/twins.ts";

let claude: ModelServer;
let openai: ModelServer;
let clock: HastyClock;
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  claude = await openClaudeServer({ key: theKey });
  openai = await openOpenaiServer({ key: theKey });
  clock = new HastyClock();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await Promise.all([claude.close(), openai.close()]);
});

/** A gateway with a Claude and an OpenAI. */
async function open(
  more: { claude?: Partial<ProviderSettings>; openai?: Partial<ProviderSettings>; all?: Partial<GatewaySettings> } = {},
  keyed = true,
): Promise<Twin> {
  const providers = [provider("claude", claude.url, more.claude), provider("openai", openai.url, more.openai)];
  const twin = await openTwin(settings(providers, more.all), clock, keyed);
  closing.push(twin.close);
  return twin;
}

const asked = () => [claude.requests.length, openai.requests.length];
/** Spends so many dollars of Claude's budget. */
const spend = (twin: Twin, costUsd: number, at = clock.now()) =>
  twin.database.prepare("INSERT INTO usage VALUES (?, 'claude', 'm', 1, 1, ?, 'a', '', 'answered')").run(at, costUsd);

describe("who is asked", () => {
  it("nobody without a key, and it is said what to do; the gateway serves all the same", async () => {
    const { gateway } = await open({}, false);
    await expect(gateway.infer(request())).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(/no strategic provider configured; .*aiosctl secrets set claude/),
    });
    const { providers } = await gateway.getBudget({});
    expect(providers.map(({ name, hasKey, state }) => [name, hasKey, state])).toMatchObject([
      ["claude", false, expect.stringContaining("has no key")],
      ["openai", false, expect.stringContaining("has no key")],
    ]);
    expect(asked()).toEqual([0, 0]);
  });

  it("the first in order; the preferred; the next when one fails and another is allowed", async () => {
    const { gateway } = await open();
    expect((await gateway.infer(request())).providerUsed).toBe("claude");
    expect((await gateway.infer(request({ preferredProvider: "openai" }))).providerUsed).toBe("openai");
    claude.say({ status: 500 }, { status: 503 }, { status: 529 });
    expect(await gateway.infer(request({ prompt: "again" }))).toMatchObject({ providerUsed: "openai" });
    claude.say({ status: 400, message: "prompt is too long" });
    expect(await gateway.infer(request({ prompt: "long" }))).toMatchObject({ providerUsed: "openai" });
    claude.say({ status: 500 }, { status: 500 }, { status: 500 });
    const alone = gateway.infer(request({ prompt: "alone", preferredProvider: "claude", allowFallback: false }));
    await expect(alone).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("500") });
  });

  it("only one, where no other is allowed; one that cannot be asked is passed over", async () => {
    const { gateway } = await open({ claude: { rateLimitRpm: 1 }, all: { attemptsMax: 1 } });
    claude.say({ status: 500 });
    await expect(gateway.infer(request({ allowFallback: false }))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked()).toEqual([1, 0]);
    expect((await gateway.infer(request({ allowFallback: false }))).providerUsed).toBe("openai");
  });

  it("one that is for fallback only, last, even when it is preferred", async () => {
    const { gateway } = await open({ openai: { fallbackOnly: true } });
    expect((await gateway.infer(request({ preferredProvider: "openai" }))).providerUsed).toBe("claude");
  });

  it("the next for a stream too, until there is text", async () => {
    const { gateway } = await open();
    claude.say({ status: 529 }, { cutAfter: 1 }, { status: 529 });
    openai.say({ text: "from the other" });
    const { response, texts } = await drain(gateway.streamInfer(request()));
    expect(response?.providerUsed).toBe("openai");
    expect(texts.join("")).toBe("from the other");
  });

  it("nobody outside when nothing may leave the machine", async () => {
    const { gateway } = await open({
      claude: { baseUrl: "https://192.0.2.1" },
      openai: { baseUrl: "http://localhost.example:1/v1" },
    });
    await expect(gateway.infer(request())).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("nothing may leave this machine"),
    });
  });

  it("tells what each of them said", async () => {
    const { gateway } = await open({ all: { attemptsMax: 1 } });
    claude.say({ status: 401, message: "invalid x-api-key" });
    openai.say({ status: 429, message: "slow down", headers: { "retry-after": "7" } });
    await expect(gateway.infer(request())).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringMatching(/claude: .*401.*secrets set claude.*openai: .*429: slow down/),
      retryAfterMs: 7_000,
    });
  });

  it("refuses what makes no sense", async () => {
    const { gateway } = await open();
    const wrong = [
      { prompt: "" },
      { preferredProvider: "nobody" },
      { temperature: 3 },
      { maxTokens: -1 },
      { jsonSchema: "{" },
      { toolChoice: "fs.read" },
      { whenUnavailable: "hope" },
      { messages: [{ role: "system", text: "x", toolCalls: [], toolCallId: "", toolName: "", isError: false }] },
    ];
    for (const more of wrong)
      await expect(gateway.infer(request(more)), JSON.stringify(more)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    await expect(gateway.getUsage({ ...any, days: -1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(asked()).toEqual([0, 0]);
  });
});

describe("tries", () => {
  it("again with growing pauses", async () => {
    const { gateway } = await open();
    claude.say({ status: 500 }, { status: 500 }, { text: "third time lucky" });
    expect((await gateway.infer(request())).text).toBe("third time lucky");
    expect(clock.waited).toEqual([501, 1_001]);
  });

  it.each([
    [{ "retry-after": "3" }, 3_001],
    [{ "retry-after-ms": "2500" }, 2_501],
    [{ "retry-after": new Date(Date.UTC(2026, 10, 21, 0, 0, 9)).toUTCString() }, 9_001],
  ])("not before the provider says: %o", async (headers, wait) => {
    const { gateway } = await open();
    claude.say({ status: 429, headers }, { text: "now" });
    expect((await gateway.infer(request())).text).toBe("now");
    expect(clock.waited).toEqual([wait]);
  });

  it("no more where the pause is long: the provider is left alone for as long, and another is asked", async () => {
    const { gateway } = await open();
    claude.say({ status: 429, headers: { "retry-after": "60" } });
    expect((await gateway.infer(request())).providerUsed).toBe("openai");
    expect((await gateway.infer(request({ prompt: "b" }))).providerUsed).toBe("openai");
    expect(asked()).toEqual([1, 2]);
    clock.pass(60_000);
    expect((await gateway.infer(request({ prompt: "c" }))).providerUsed).toBe("claude");
  });

  it("one with failures in a row is left alone, then tried by one request at a time", async () => {
    const { gateway } = await open({ all: { attemptsMax: 1, breakerFailures: 2 } });
    claude.say({ status: 500 }, { status: 500 }, { status: 500 });
    for (const prompt of ["a", "b", "c"]) await gateway.infer(request({ prompt }));
    expect(asked()).toEqual([2, 3]);
    clock.pass(30_000);
    await gateway.infer(request({ prompt: "d" }));
    await gateway.infer(request({ prompt: "e" }));
    expect(asked()).toEqual([3, 5]);
    clock.pass(30_000);
    claude.say({ text: "back", delayMs: 50 });
    const [first, second] = await Promise.all([
      gateway.infer(request({ prompt: "f" })),
      gateway.infer(request({ prompt: "g" })),
    ]);
    expect([first.providerUsed, second.providerUsed].sort()).toEqual(["claude", "openai"]);
    expect((await gateway.infer(request({ prompt: "h" }))).providerUsed).toBe("claude");
  });

  it("so many requests a minute and no more", async () => {
    const { gateway } = await open({ claude: { rateLimitRpm: 2 }, openai: { rateLimitRpm: 1 } });
    const prompts = ["a", "b", "c"];
    for (const prompt of prompts) await gateway.infer(request({ prompt }));
    expect(asked()).toEqual([2, 1]);
    await expect(gateway.infer(request({ prompt: "d" }))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      retryAfterMs: 60_000,
    });
    clock.pass(60_000);
    expect((await gateway.infer(request({ prompt: "d" }))).providerUsed).toBe("claude");
  });
});

describe("a queue", () => {
  it("holds a question until a provider is back, where the caller wants it", async () => {
    const { gateway } = await open({ all: { attemptsMax: 1 } });
    await claude.close();
    openai.say({ status: 503 }, { status: 503 }, { status: 503 }, { text: "back" });
    await expect(gateway.infer(request())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await gateway.infer(request({ whenUnavailable: "queue" }))).toMatchObject({ text: "back" });
    expect(asked()[1]).toBe(4);
  });

  it("waits no longer than is allowed, has so many places, and does not wait for what time does not mend", async () => {
    await Promise.all([claude.close(), openai.close()]);
    const waiting = await open({ all: { attemptsMax: 1, queue: { lengthMax: 10, waitMaxMs: 60_000 } } });
    const began = clock.now();
    await expect(waiting.gateway.infer(request({ whenUnavailable: "queue" }))).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    expect(clock.now() - began).toBeGreaterThanOrEqual(60_000);
    const full = await open({ all: { attemptsMax: 1, queue: { lengthMax: 0, waitMaxMs: 60_000 } } });
    await expect(full.gateway.infer(request({ whenUnavailable: "queue" }))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("queue"),
    });
    const keyless = await open({}, false);
    await expect(keyless.gateway.infer(request({ whenUnavailable: "queue" }))).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
  });
});

describe("budgets", () => {
  it("refuse before the call what could not be paid, and other providers are asked", async () => {
    const twin = await open({ claude: { monthlyBudgetUsd: 100 }, openai: { needsKey: true } });
    spend(twin, 99.9);
    expect((await twin.gateway.infer(request())).providerUsed).toBe("openai");
    const only = request({ prompt: "x", preferredProvider: "claude", allowFallback: false, maxTokens: 10 });
    await expect(twin.gateway.infer(only)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("budget of 100 USD"),
    });
    expect(asked()).toEqual([0, 1]);
  });

  it("hold for questions asked at once", async () => {
    const { gateway } = await open({ claude: { monthlyBudgetUsd: 1_200, maxTokens: 300 } });
    claude.say(...Array.from({ length: 9 }, () => ({ inputTokens: 50, outputTokens: 300, delayMs: 20 })));
    const prompts = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    await Promise.allSettled(
      prompts.map((prompt) => gateway.infer(request({ prompt, preferredProvider: "claude", allowFallback: false }))),
    );
    const { claudeUsedUsd } = await gateway.getBudget({});
    expect(claudeUsedUsd).toBeGreaterThan(0);
    expect(claudeUsedUsd).toBeLessThanOrEqual(1_200);
    expect(claude.requests.length).toBeLessThan(9);
  });

  it("alert once at 80 % and once when all is spent, and begin anew each month", async () => {
    const twin = await open({ claude: { monthlyBudgetUsd: 1_000, maxTokens: 5 } });
    claude.say({ inputTokens: 1, outputTokens: 849 }, { inputTokens: 1, outputTokens: 9 });
    const ask = (prompt: string) =>
      twin.gateway.infer(request({ prompt, preferredProvider: "claude", allowFallback: false, maxTokens: 5 }));
    await ask("a");
    await ask("b");
    expect(twin.alerts).toEqual([{ provider: "claude", percent: 80, usedUsd: 850, budgetUsd: 1_000 }]);
    claude.say({ inputTokens: 1, outputTokens: 144 });
    await ask("c");
    expect(twin.alerts.map(({ percent }) => percent)).toEqual([80, 100]);
    await expect(ask("d")).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await twin.gateway.getBudget({})).toMatchObject({ claudeUsedUsd: 1_005, daysRemaining: 9 });
    clock.pass(12 * 86_400_000);
    await ask("e");
    expect((await twin.gateway.getBudget({})).claudeUsedUsd).toBeLessThan(100);
  });

  it("are of this month", async () => {
    const twin = await open();
    spend(twin, 9, Date.UTC(2026, 9, 31));
    spend(twin, 3);
    expect(await twin.gateway.getBudget({})).toMatchObject({ claudeUsedUsd: 3, claudeMonthlyBudgetUsd: 1_000_000 });
  });

  it("need a price", async () => {
    const { gateway } = await open({ claude: { price: undefined }, openai: { price: undefined } });
    await expect(gateway.infer(request())).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("[gateway.prices]"),
    });
  });
});

describe("usage", () => {
  it("is kept by agent, task and model, and is found by each", async () => {
    const { gateway } = await open();
    claude.say({ inputTokens: 1, outputTokens: 2 }, { inputTokens: 3, outputTokens: 4 });
    await gateway.infer(request({ prompt: "a", requestingAgent: "network", taskId: "t1" }));
    await gateway.infer(request({ prompt: "b", requestingAgent: "storage", taskId: "t2" }));
    const all = await gateway.getUsage(any);
    expect(all).toMatchObject({ totalRequests: 2, totalTokens: 10, totalCostUsd: 10 });
    expect(await gateway.getUsage({ ...any, requestingAgent: "network" })).toMatchObject({
      records: [
        { model: "claude-model", taskId: "t1", inputTokens: 1, outputTokens: 2, costUsd: 3, outcome: "answered" },
      ],
      totalRequests: 1,
    });
    expect((await gateway.getUsage({ ...any, taskId: "t2" })).totalCostUsd).toBe(7);
    expect((await gateway.getUsage({ ...any, model: "other" })).totalRequests).toBe(0);
  });
});

describe("the cache", () => {
  it("gives an answer again for a while, for nothing, also as a stream", async () => {
    const { gateway } = await open();
    claude.say({ text: "forty-two" });
    await gateway.infer(request());
    expect(await gateway.infer(request({ taskId: "other" }))).toMatchObject({
      text: "forty-two",
      fromCache: true,
      costUsd: 0,
    });
    const { texts, response } = await drain(gateway.streamInfer(request()));
    expect([texts.join(""), response?.fromCache]).toEqual(["forty-two", true]);
    clock.pass(3_600_000);
    expect((await gateway.infer(request())).fromCache).toBe(false);
    expect(asked()).toEqual([2, 0]);
  });

  it.each([
    ["security questions", { taskType: "security" }],
    ["what the security agent asks", { requestingAgent: "security" }],
    ["another question", { systemPrompt: "differently" }],
  ])("does not answer %s", async (_, more) => {
    const { gateway } = await open();
    await gateway.infer(request());
    await gateway.infer(request(more));
    expect((await gateway.infer(request(more))).fromCache).toBe("systemPrompt" in more);
  });

  it("keeps no calls of tools and no halves", async () => {
    const { gateway } = await open();
    const tools = [{ name: "a.b", description: "", inputSchema: Buffer.from("{}") }];
    claude.say({ toolCalls: [{ name: "a_b", arguments: {} }] }, { finish: "max_tokens" });
    await gateway.infer(request({ tools }));
    expect(await gateway.infer(request({ tools }))).toMatchObject({ fromCache: false, finishReason: "length" });
    expect((await gateway.infer(request({ tools }))).fromCache).toBe(false);
  });
});

const any = { provider: "", model: "", requestingAgent: "", taskId: "", days: 0 };
