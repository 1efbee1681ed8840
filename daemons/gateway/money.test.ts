import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer, Reply } from "#lib/testing/model-server";
import { drain, openTwin, provider, request, settings, type Twin, theKey } from "./testing/twins.ts";
import { openUsage } from "./usage.ts";

const day = 86_400_000;

let server: ModelServer;
let twin: Twin;
/** What stood in the database when the provider was asked. */
let written: { outcome: string; cost: number }[] = [];

const rows = () =>
  twin.database.prepare<[], { outcome: string; cost: number }>("SELECT outcome, cost_usd AS cost FROM usage").all();
const otherwise = (): Reply => {
  written = rows();
  return {};
};
const used = async () => (await twin.gateway.getBudget({})).claudeUsedUsd;
/** A dollar a token; an answer of ten at most. */
const open = (monthlyBudgetUsd: number) =>
  openTwin(settings([provider("claude", server.url, { monthlyBudgetUsd, maxTokens: 10 })], { attemptsMax: 1 }));

beforeEach(async () => {
  server = await openClaudeServer({ key: theKey, otherwise });
  twin = await open(100_000);
});
afterEach(async () => {
  twin.close();
  await server.close();
});

it("what a question may cost at most is written before the provider hears of it, and what it did cost afterwards", async () => {
  const { costUsd } = await twin.gateway.infer(request());
  expect(written).toEqual([{ outcome: "asked", cost: expect.any(Number) }]);
  expect(written[0]?.cost).toBeGreaterThan(costUsd);
  expect(rows()).toEqual([{ outcome: "answered", cost: costUsd }]);
  expect(await used()).toBe(costUsd);
});

describe("at most", () => {
  it.each([
    ["one token to a byte", "x".repeat(500)],
    ["characters of several bytes", "𝕏".repeat(125)],
    ["control characters", "\u0001".repeat(500)],
  ])("is no less than it can cost: %s", async (_, prompt) => {
    const costly = { inputTokens: Buffer.byteLength(prompt) + 20, outputTokens: 10 };
    server.say(costly);
    twin.close();
    twin = await open(500);
    await expect(twin.gateway.infer(request({ prompt }))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(server.requests).toEqual([]);
  });

  it("holds for questions asked at once that each cost all that they may", async () => {
    twin.close();
    twin = await open(2_000);
    const prompt = "y".repeat(400);
    server.say(...Array.from({ length: 9 }, () => ({ inputTokens: 420, outputTokens: 10, delayMs: 20 })));
    const asked = Array.from({ length: 9 }, (_, at) => twin.gateway.infer(request({ prompt: `${at}${prompt}` })));
    await Promise.allSettled(asked);
    expect(server.requests.length).toBeGreaterThan(1);
    expect(await used()).toBeLessThanOrEqual(2_000);
  });

  it("is what a question costs that breaks off: nobody tells what was made of it", async () => {
    server.say({ text: "word ".repeat(20), cutAfter: 5 });
    await expect(drain(twin.gateway.streamInfer(request()))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(rows()).toEqual([{ outcome: "cut", cost: expect.any(Number) }]);
    expect(await used()).toBeGreaterThan(10);
  });

  it.each([
    [
      "reasoning",
      [
        { type: "thinking", thinking: "" },
        { type: "thinking_delta", thinking: "a long thought" },
      ],
    ],
    [
      "a call",
      [
        { type: "tool_use", id: "1", name: "fs_read" },
        { type: "input_json_delta", partial_json: '{"pa' },
      ],
    ],
  ])("is what an answer costs of which %s has come, and then an error", async (_, [content_block, delta]) => {
    const events = [
      { type: "message_start", message: { model: "m", usage: { input_tokens: 1 } } },
      { type: "content_block_start", index: 0, content_block },
      { type: "content_block_delta", index: 0, delta },
      { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
    ];
    const body = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
    server.say({ raw: { type: "text/event-stream", body } });
    const tools = [{ name: "fs.read", description: "", inputSchema: Buffer.from("{}") }];
    await expect(drain(twin.gateway.streamInfer(request({ tools })))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(rows()).toEqual([{ outcome: "cut", cost: expect.any(Number) }]);
  });

  it("is what a question costs that somebody before the provider gave up", async () => {
    server.say({ status: 504 });
    await expect(twin.gateway.infer(request())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(rows()).toEqual([{ outcome: "cut", cost: expect.any(Number) }]);
  });

  it("is given back for what was refused, and where nobody was there", async () => {
    server.say({ status: 429 }, { status: 500 }, { status: 400 }, { status: 401 });
    for (const prompt of ["a", "b", "c", "d"]) await expect(twin.gateway.infer(request({ prompt }))).rejects.toThrow();
    await server.close();
    await expect(twin.gateway.infer(request())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(rows()).toEqual([]);
  });
});

describe("on a full disk", () => {
  const fill = () => {
    twin.database.pragma(`max_page_count = ${twin.database.pragma("page_count", { simple: true })}`);
    const one = twin.database.prepare("INSERT INTO usage VALUES (0, 'x', 'm', 0, 0, 0, 'a', '', 'answered')");
    expect(() => {
      for (;;) one.run();
    }).toThrow(/full/);
  };

  it("nothing is asked, and it is said what to do; it goes on when there is room", async () => {
    fill();
    await expect(twin.gateway.infer(request())).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/full; make room on the data volume/),
    });
    expect(server.requests).toEqual([]);
    twin.database.pragma("max_page_count = 1000000");
    expect(await twin.gateway.infer(request())).toMatchObject({ text: "ok" });
  });

  it("an answer that is paid for is given, and its reservation counts", async () => {
    twin.database.exec(
      "CREATE TEMP TRIGGER full BEFORE UPDATE ON usage BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
    );
    const { text, costUsd } = await twin.gateway.infer(request());
    expect(text).toBe("ok");
    expect(await used()).toBeGreaterThan(costUsd);
    expect(twin.logged.join()).toContain("what a request cost cannot be written");
  });
});

describe("by a clock that is set", () => {
  const start = Date.UTC(2026, 10, 21);
  const most = { provider: "claude", model: "m", inputTokens: 1, outputTokens: 1, costUsd: 7, agent: "", taskId: "" };
  const opened = (clock: Clock) => openUsage(twin.database, clock, silentLog);

  it("what was asked while it was ahead counts in the month in which it was set back, and in none after it", () => {
    const clock = new ManualClock(start);
    const usage = opened(clock);
    usage.reserve(most).stand();
    clock.setTo(start + 400 * day);
    usage.reserve(most).stand();
    clock.setTo(start);
    expect(usage.spentThisMonth("claude")).toBe(14);
    usage.reserve(most).stand();
    clock.setTo(start + 31 * day);
    expect([usage, opened(clock)].map((one) => one.spentThisMonth("claude"))).toEqual([0, 0]);
  });

  it("what was spent this month stays spent when it is far ahead at a start", () => {
    const clock = new ManualClock(start);
    opened(clock).reserve(most).stand();
    clock.setTo(start + 1_000 * day);
    opened(clock);
    clock.setTo(start);
    expect(opened(clock).spentThisMonth("claude")).toBe(7);
  });
});
