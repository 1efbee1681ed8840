import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer, Reply } from "#lib/testing/model-server";
import type { ApiInferRequest } from "#proto/aios/api_gateway";
import { above, asks, held, json, type Odd } from "./testing/odd.ts";
import { drain, HastyClock, openTwin, provider, settings, type Twin } from "./testing/twins.ts";

const claudes: readonly Odd[] = [
  {
    what: "an account without credit, as status 400",
    source: "Anthropic, anthropics/claude-code#88711, 2026-08-22",
    reply: { status: 400, message: "Your credit balance is too low to access the Anthropic API." },
    error: { code: "FAILED_PRECONDITION", message: /credit balance is too low.*give its account credit/ },
  },
  {
    what: "a model that it does not have",
    source: "Anthropic, mattermost/mattermost-plugin-agents#257, 2024-10-22",
    reply: { status: 404, message: "model: claude-none" },
    error: { code: "FAILED_PRECONDITION", message: /model: claude-none; name a model that it has/ },
  },
  {
    what: "status 200 with an error",
    source: "a proxy that has begun to answer when its upstream fails, praxis-proxy/ai#940, 2026-09-07",
    reply: json({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }),
    answer: { text: "ok", requests: 2 },
  },
  {
    what: "blocks of reasoning, and no count of tokens",
    source: "SGLang and others, sgl-project/sglang#18630, 2026-02-12",
    reply: json({
      ...{ id: "1", type: "message", role: "assistant", model: "m", stop_reason: "end_turn" },
      content: [
        { type: "thinking", thinking: "a long thought", signature: "" },
        { type: "text", text: "yes" },
      ],
      usage: { input_tokens: 0, output_tokens: 0 },
    }),
    answer: { text: "yes", inputTokens: above(20), outputTokens: above(17) },
  },
  {
    what: "a model that is no longer there",
    source: "Anthropic, anthropics/claude-code#68120, 2026-06-13",
    reply: { status: 404, message: "Claude Fable 5 is not available. Please use Opus 4.8." },
    error: { code: "FAILED_PRECONDITION", message: /is not available.*name a model that it has/ },
  },
];

const claudeEvents = (...all: readonly { type: string }[]): Reply => ({
  raw: {
    type: "text/event-stream",
    body: all.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(""),
  },
});
const started = { type: "message_start", message: { model: "m", usage: { input_tokens: 0, output_tokens: 0 } } };
const said = (delta: object) => ({ type: "content_block_delta", index: 0, delta });
const block = (content_block: object) => ({ type: "content_block_start", index: 0, content_block });
const stopped = (usage?: object) => [
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage },
  { type: "message_stop" },
];

const claudeStreams: readonly Odd[] = [
  {
    what: "input counted at the end alone",
    source: "SGLang, sgl-project/sglang#20678, 2026-03-16; Z.ai, zai-org/GLM-5#139, 2026-09-01",
    reply: claudeEvents(
      started,
      block({ type: "text", text: "" }),
      said({ type: "text_delta", text: "ok" }),
      ...stopped({ input_tokens: 123, output_tokens: 45 }),
    ),
    answer: { text: "ok", inputTokens: 123, outputTokens: 45 },
  },
  {
    what: "input never counted, and reasoning without a count",
    source: "mlx-node, mlx-node/mlx-node#45, 2026-04-11",
    reply: claudeEvents(
      started,
      block({ type: "thinking", thinking: "" }),
      said({ type: "thinking_delta", thinking: "a long thought" }),
      said({ type: "text_delta", text: "ok" }),
      ...stopped(),
    ),
    answer: { text: "ok", inputTokens: above(20), outputTokens: above(15) },
  },
];

let server: ModelServer;
let twin: Twin;

beforeEach(async () => {
  server = await openClaudeServer();
  twin = await openTwin(settings([provider("claude", server.url)]), new HastyClock());
});
afterEach(async () => {
  twin.close();
  await server.close();
});

describe("Anthropic's protocol as it is really spoken", () => {
  it.each(claudes)("$what", async (odd) => {
    expect(await held(odd, server, twin, (asked) => twin.gateway.infer(asked))).toBe(asks(odd));
  });
  it.each(claudeStreams)("$what, in a stream that was not asked for", async (odd) => {
    expect(await held(odd, server, twin, (asked) => twin.gateway.infer(asked))).toBe(asks(odd));
  });
  it.each(claudeStreams)("$what, in a stream", async (odd) => {
    const streamed = async (asked: ApiInferRequest) => (await drain(twin.gateway.streamInfer(asked))).response;
    expect(await held(odd, server, twin, streamed)).toBe(asks(odd));
  });
});
