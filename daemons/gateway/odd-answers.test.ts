import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer, Reply } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import type { ApiInferRequest } from "#proto/aios/api_gateway";
import { asks, held, json, type Odd, tools } from "./testing/odd.ts";
import { drain, HastyClock, openTwin, provider, request, settings, type Twin } from "./testing/twins.ts";

const events = (...chunks: readonly unknown[]): Reply => ({
  raw: {
    type: "text/event-stream",
    body: [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"].map((line) => `data: ${line}\n\n`).join(""),
  },
});
const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const whole = (message: object, finish_reason = "stop"): Reply =>
  json({
    id: "1",
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason }],
    usage,
  });
const delta = (part: object, finish_reason: string | null = null) => ({
  id: "1",
  model: "m",
  choices: [{ index: 0, delta: part, finish_reason }],
});
const call = (index: number | undefined, id: string | undefined, path: string, more = {}) => ({
  ...{ ...(index !== undefined && { index }), ...(id !== undefined && { id }), type: "function" },
  function: { name: "fs_read", arguments: JSON.stringify({ path }), ...more },
});
const twoCalls = { finishReason: "tool_calls", calls: ["/a", "/b"] };

const wholes: readonly Odd[] = [
  {
    what: "content as a list, with the reasoning in it",
    source: "Mistral's reasoning models, infiniflow/ragflow#14805, 2026-05-12",
    reply: whole({
      content: [
        { type: "thinking", thinking: [{ type: "text", text: "150 mph" }], closed: true },
        { type: "text", text: "after " },
        { type: "text", text: "2 hours" },
      ],
    }),
    answer: { text: "after 2 hours", inputTokens: 3, outputTokens: 2 },
  },
  {
    what: "arguments as an object, no ids, and the end called stop",
    source: "servers before other models, NousResearch/hermes-agent#62937, 2026-08-09",
    reply: whole({
      content: null,
      tool_calls: [call(undefined, undefined, "/a", { arguments: { path: "/a" } }), call(undefined, "", "/b")],
    }),
    answer: twoCalls,
  },
  {
    what: "one id for two calls",
    source: "Gemini by a converter, brainlid/langchain#620, 2026-08-18",
    reply: whole({ content: null, tool_calls: [call(0, "call-fs", "/a"), call(1, "call-fs", "/b")] }, "tool_calls"),
    answer: twoCalls,
  },
  {
    what: "arguments that max_tokens cut off",
    source: "OpenAI's own, vercel/ai#14277, 2026",
    reply: whole({ content: null, tool_calls: [call(0, "1", "", { arguments: '{"path":"/a' })] }, "length"),
    error: { code: "OUT_OF_RANGE", message: /its call of fs\.read is cut off after 2 tokens; raise max_tokens/ },
  },
  {
    what: "status 200 with an error that passes",
    source: "OpenRouter (openrouter.ai/docs/api/errors, read 2026-11-30; thedotmack/claude-mem#3942, 2026-09-11)",
    reply: json({ error: { code: 429, message: "Rate limit exceeded" }, user_id: "u" }),
    answer: { text: "ok", requests: 2 },
  },
  {
    what: "status 200 with an error that stays",
    source: "OpenRouter, thedotmack/claude-mem#3942, 2026-09-11",
    reply: json({ error: { code: 400, message: "No endpoints found" } }),
    error: { code: "INVALID_ARGUMENT", message: /No endpoints found/ },
  },
  {
    what: "status 200 with an error in words",
    source: "gateways before local servers, aisix#712, 2026",
    reply: json({ error: "upstream did something strange" }),
    error: { code: "INVALID_ARGUMENT", message: /upstream did something strange/ },
  },
  {
    what: "status 200 with an error in a choice",
    source: "OpenRouter, openrouter.ai/docs/api/errors, read 2026-11-30",
    reply: json({
      model: "m",
      choices: [{ error: { code: 502, message: "Provider disconnected" }, finish_reason: "error" }],
    }),
    answer: { text: "ok", requests: 2 },
  },
  {
    what: "status 200 with an error in a list",
    source: "Gemini's OpenAI endpoint, there with status 400, bytedance/deer-flow#1515, 2026-03-28",
    reply: json([{ error: { code: 401, message: "API key not valid", status: "UNAUTHENTICATED" } }]),
    error: { code: "FAILED_PRECONDITION", message: /API key not valid; set its key/ },
  },
  {
    what: "a quota that is used up, as status 429",
    source: "OpenAI, langchain-ai/langchainjs#1929, 2023-07-11",
    reply: json(
      { error: { message: "You exceeded your current quota", type: "insufficient_quota", code: "insufficient_quota" } },
      429,
    ),
    error: { code: "FAILED_PRECONDITION", message: /current quota; give its account credit/ },
  },
  {
    what: "a balance that is used up, as status 402",
    source: "DeepSeek, api-docs.deepseek.com/quick_start/error_codes, read 2026-11-30",
    reply: json(
      { error: { message: "Insufficient Balance", type: "unknown_error", code: "invalid_request_error" } },
      402,
    ),
    error: { code: "FAILED_PRECONDITION", message: /Insufficient Balance; give its account credit/ },
  },
  {
    what: "a model that it does not have",
    source: "OpenAI, timkmecl/chatgpt-vscode#45, 2024-04-04",
    reply: json(
      { error: { message: "The model `x` does not exist", type: "invalid_request_error", code: "model_not_found" } },
      404,
    ),
    error: { code: "FAILED_PRECONDITION", message: /does not exist; name a model that it has/ },
  },
  {
    what: "a model that it does not have, as an error in words",
    source: "Ollama, ollama/ollama#718, 2023-10-06",
    reply: json({ error: "model 'x' not found, try pulling it first" }, 404),
    error: { code: "FAILED_PRECONDITION", message: /not found.*name a model that it has/ },
  },
  {
    what: "no count of tokens",
    source: "coddy serve, coddy-project/coddy-agent#321, 2026-09-19",
    reply: json({ model: "m", choices: [{ message: { content: "four" }, finish_reason: "eos" }] }),
    answer: { text: "four", outputTokens: 6 },
  },
  {
    what: "reasoning counted in the total alone",
    source: "Gemini by CLIProxyAPI, router-for-me/CLIProxyAPI#5733, 2026-09-11",
    reply: json({
      model: "m",
      choices: [{ message: { content: "four" }, finish_reason: "stop" }],
      usage: {
        ...{ prompt_tokens: 21, completion_tokens: 0, total_tokens: 81 },
        completion_tokens_details: { reasoning_tokens: 60 },
      },
    }),
    answer: { text: "four", inputTokens: 21, outputTokens: 60 },
  },
  {
    what: "no count of tokens, and the reasoning beside the answer",
    source: "DeepSeek and Qwen, MiXaiLL76/auto_ai_router#114, 2026-08-04",
    reply: json({
      model: "m",
      choices: [{ message: { content: "four", reasoning_content: "2 and 2" }, finish_reason: "stop" }],
    }),
    answer: { text: "four", outputTokens: 13 },
  },
  {
    what: "no reason for the end",
    source: "OpenAI's own, 64bit/async-openai#46, 2023-03-03",
    reply: json({ model: "m", choices: [{ message: { content: "four" }, finish_reason: null }], usage }),
    answer: { text: "four", finishReason: "stop" },
  },
  {
    what: "arguments as a text of JSON in JSON, and none as null",
    source: "Koog's other side, JetBrains/koog#2095, 2026-06-01; openclaw/openclaw#40425, 2026-03-09",
    reply: whole(
      {
        content: null,
        tool_calls: [
          call(0, "1", "", { arguments: JSON.stringify(JSON.stringify({ path: "/a" })) }),
          call(1, "2", "", { arguments: null }),
        ],
      },
      "tool_calls",
    ),
    answer: { finishReason: "tool_calls", calls: ["/a", undefined] },
  },
  {
    what: "nothing where it was asked",
    source: "an address without /v1, anthropics/claude-code#50229, 2026-04-18",
    reply: { raw: { type: "text/plain", body: "404 page not found", status: 404 } },
    error: { code: "FAILED_PRECONDITION", message: /404 page not found; name a model that it has, and its base_url/ },
  },
];

const streams: readonly Odd[] = [
  {
    what: "each parallel call with index 0 and its own id",
    source: "Gemini by converters, su-kaka/gcli2api#406, 2026-08-28",
    reply: events(
      delta({ tool_calls: [call(0, "1", "/a")] }),
      delta({ tool_calls: [call(0, "2", "/b")] }),
      delta({}, "tool_calls"),
    ),
    answer: twoCalls,
  },
  {
    what: "parallel calls without an index or an id",
    source: "Gemini by converters, brainlid/langchain#620, 2026-08-18",
    reply: events(
      delta({ tool_calls: [call(undefined, undefined, "/a"), call(undefined, undefined, "/b")] }),
      delta({}, "stop"),
    ),
    answer: twoCalls,
  },
  {
    what: "a call in pieces without an index, its id repeated",
    source: "SGLang, sgl-project/sglang#7117, 2025",
    reply: events(
      delta({ tool_calls: [call(undefined, "1", "", { arguments: '{"path":' })] }),
      delta({ tool_calls: [{ id: "1", function: { arguments: '"/a"}' } }] }),
      delta({ tool_calls: [call(undefined, "2", "/b")] }, "tool_calls"),
    ),
    answer: twoCalls,
  },
  {
    what: "tokens counted in the last event alone, which has no choices",
    source: "OpenAI's own, kubeai-project/kubeai#283, 2024-10-24",
    reply: events(delta({ content: "hi" }), delta({}, "stop"), { id: "1", model: "m", choices: [], usage }),
    answer: { text: "hi", inputTokens: 3, outputTokens: 2 },
  },
  {
    what: "content as a list, with the reasoning in it",
    source: "Mistral's reasoning models, BerriAI/litellm#16272, 2025-11-05",
    reply: events(
      delta({ content: [{ type: "thinking", thinking: [{ type: "text", text: "Okay" }] }] }),
      delta({ content: [{ type: "text", text: "yes" }] }),
      delta({ content: "!" }, "stop"),
    ),
    answer: { text: "yes!" },
  },
  {
    what: "arguments that max_tokens cut off",
    source: "OpenAI's own, vercel/ai#14277, 2026",
    reply: events(delta({ tool_calls: [call(0, "1", "", { arguments: '{"pa' })] }), delta({}, "length"), {
      choices: [],
      usage,
    }),
    error: { code: "OUT_OF_RANGE", message: /is cut off after 2 tokens/ },
  },
  {
    what: "an error as the first event",
    source: "OpenRouter, openrouter.ai/docs/api/errors, read 2026-11-30",
    reply: events({ error: { code: 503, message: "No capacity" } }),
    answer: { text: "ok", requests: 2 },
  },
  {
    what: "an error as the first event that stays",
    source: "OpenRouter, openrouter.ai/docs/api/errors, read 2026-11-30",
    reply: events({ error: { code: 400, message: "Provider returned error" } }),
    error: { code: "INVALID_ARGUMENT", message: /Provider returned error/ },
  },
  {
    what: "reasoning counted in the total alone",
    source: "Gemini, Clarifai/clarifai-python#978, 2026-03-10",
    reply: events(delta({ content: "hi" }), delta({}, "stop"), {
      choices: [],
      usage: { prompt_tokens: 20, completion_tokens: 424, total_tokens: 1016 },
    }),
    answer: { text: "hi", inputTokens: 20, outputTokens: 996 },
  },
  {
    what: "no count of tokens, and the reasoning beside the answer",
    source: "DeepSeek and Qwen, MiXaiLL76/auto_ai_router#114, 2026-08-04",
    reply: events(delta({ reasoning_content: "2 and 2" }), delta({ content: "four" }), delta({}, "stop")),
    answer: { text: "four", outputTokens: 13 },
  },
  {
    what: "an empty text for no reason yet",
    source: "Ollama, ollama/ollama#4357, 2024-05-11; SGLang, sgl-project/sglang#3912, 2025-02-27",
    reply: events(delta({ content: "h", tool_calls: null }, ""), delta({ content: "i" }, ""), delta({}, "stop"), {
      choices: [],
      usage,
    }),
    answer: { text: "hi", inputTokens: 3, outputTokens: 2 },
  },
];

let server: ModelServer;
let twin: Twin;

beforeEach(async () => {
  server = await openOpenaiServer();
  twin = await openTwin(settings([provider("openai", server.url)]), new HastyClock());
});
afterEach(async () => {
  twin.close();
  await server.close();
});

describe("OpenAI's protocol as it is really spoken", () => {
  it.each(wholes)("$what", async (odd) => {
    expect(await held(odd, server, twin, (asked) => twin.gateway.infer(asked))).toBe(asks(odd));
  });
  it.each(streams)("$what, in a stream that was not asked for", async (odd) => {
    expect(await held(odd, server, twin, (asked) => twin.gateway.infer(asked))).toBe(asks(odd));
  });
  it.each(streams)("$what, in a stream", async (odd) => {
    const streamed = async (asked: ApiInferRequest) => (await drain(twin.gateway.streamInfer(asked))).response;
    expect(await held(odd, server, twin, streamed)).toBe(asks(odd));
  });
});

it("an empty answer is given once, and asked for again", async () => {
  server.say({ text: "" }, { text: "something" });
  expect(await twin.gateway.infer(request())).toMatchObject({ text: "" });
  expect(await twin.gateway.infer(request())).toMatchObject({ text: "something", fromCache: false });
});

it("a tool call that is cut off is not asked for elsewhere", async () => {
  const other = await openClaudeServer();
  twin.close();
  twin = await openTwin(settings([provider("openai", server.url), provider("claude", other.url)]), new HastyClock());
  const cut = wholes.find(({ what }) => what.startsWith("arguments that"));
  server.say(cut?.reply ?? {});
  await expect(twin.gateway.infer(request({ tools }))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  expect(other.requests).toEqual([]);
  server.say(json({ error: { message: "quota", code: "insufficient_quota" } }, 429));
  expect((await twin.gateway.infer(request())).providerUsed).toBe("claude");
  await other.close();
});
