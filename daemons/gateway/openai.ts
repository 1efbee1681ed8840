import type {
  ChatCompletionChunk,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions/completions";
import type { Clock } from "#lib/clock";
import { ProviderFault } from "./fault.ts";
import { type ToolNames, toolNames } from "./names.ts";
import { openaiDialect } from "./openai-schema.ts";
import type { Answer, Finish, Message, Piece, Question, ToolCall, Wire } from "./question.ts";
import { fitted, type Schema, schemaInWords, toolInput } from "./schema-fit.ts";
import { boundedFetch } from "./transport.ts";
import {
  argumentsOf,
  count,
  isObject,
  malformed,
  requested,
  sdkTimeoutMs,
  tokensAtMost,
  type WireSettings,
} from "./wire.ts";

/** OpenAI's chat completions API, by its SDK; and whatever speaks the same protocol. */
export function openaiWire(settings: WireSettings, clock: Clock): Wire {
  const open = async (key: string | undefined) => {
    const { OpenAI } = await import("./sdk/openai.ts");
    const client = new OpenAI({
      ...{ baseURL: settings.baseUrl, apiKey: key ?? "none", organization: null, project: null, webhookSecret: null },
      ...{ maxRetries: 0, timeout: sdkTimeoutMs, fetch: boundedFetch, logLevel: "off" },
      // A server that asks for no key is given none.
      ...(key === undefined && { defaultHeaders: { authorization: null } }),
    });
    return client.chat.completions;
  };
  return {
    async *ask(question, maxTokens, key, caller) {
      const names = toolNames(question.tools);
      const body = bodyOf(question, settings, maxTokens, names);
      const completions = await open(key);
      yield* requested(settings, clock, key, caller, async function* ({ signal }) {
        yield { answer: readCompletion(await completions.create(body, { signal }), question, names) };
      });
    },
    async *stream(question, maxTokens, key, caller) {
      const names = toolNames(question.tools);
      const body = bodyOf(question, settings, maxTokens, names);
      const streamed = { ...body, stream: true, stream_options: { include_usage: true } } as const;
      const completions = await open(key);
      yield* requested(settings, clock, key, caller, async function* ({ signal, renew }) {
        yield* readChunks(await completions.create(streamed, { signal }), question, names, renew);
      });
    },
  };
}

function bodyOf(
  question: Question,
  { model, ownServer }: WireSettings,
  maxTokens: number,
  names: ToolNames,
): ChatCompletionCreateParamsNonStreaming {
  const { tools, toolChoice, jsonSchema } = question;
  const format = jsonSchema && formatOf(jsonSchema);
  const words = jsonSchema !== undefined && format === undefined ? [schemaInWords(jsonSchema)] : [];
  const system = [question.system, ...words].filter((part) => part !== "").join("\n\n");
  return {
    model,
    temperature: question.temperature,
    ...(ownServer ? { max_completion_tokens: maxTokens } : { max_tokens: maxTokens }),
    messages: [
      ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
      ...question.messages.map((message) => messageOf(message, names)),
    ],
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, inputSchema }) => ({
        type: "function" as const,
        function: { name: names.outward(name), description, parameters: toolInput(inputSchema) },
      })),
      tool_choice: choiceOf(toolChoice, names),
    }),
    ...(format && { response_format: format }),
  };
}

function choiceOf(choice: string, names: ToolNames) {
  if (choice === "auto" || choice === "none" || choice === "required") return choice;
  return { type: "function", function: { name: names.outward(choice) } } as const;
}

/** The provider is held to what `strict` takes; what it does not take is asked for without. Undefined: it takes no such root. */
function formatOf(schema: Schema) {
  const strict = fitted(schema, openaiDialect);
  if (strict === undefined && schema["type"] !== "object") return undefined;
  const asked = { name: "answer", schema: { ...(strict ?? schema) }, strict: strict !== undefined };
  return { type: "json_schema" as const, json_schema: asked };
}

function messageOf(message: Message, names: ToolNames): ChatCompletionMessageParam {
  if (message.role === "user") return { role: "user", content: message.text };
  if (message.role === "tool") return { role: "tool", tool_call_id: message.callId, content: message.text };
  const calls = message.toolCalls.map(({ id, name, arguments: input }) => ({
    ...{ id, type: "function" as const },
    function: { name: names.outward(name), arguments: JSON.stringify(input) },
  }));
  return { role: "assistant", content: message.text || null, ...(calls.length > 0 && { tool_calls: calls }) };
}

const finishes: Readonly<Record<string, Finish>> = {
  stop: "stop",
  length: "length",
  tool_calls: "tool_calls",
  function_call: "tool_calls",
  content_filter: "refused",
};

function finishOf(reason: unknown): Finish {
  const finish = typeof reason === "string" ? finishes[reason] : undefined;
  if (finish === undefined) throw malformed("no finish_reason that we know");
  return finish;
}

/** What was counted, or where nothing was, what it can be at most. */
function tokensOf(usage: unknown, question: Question, text: string): { inputTokens: number; outputTokens: number } {
  const told = isObject(usage) ? usage : {};
  return {
    inputTokens: count(told["prompt_tokens"]) ?? tokensAtMost(JSON.stringify(question)),
    outputTokens: count(told["completion_tokens"]) ?? tokensAtMost(text),
  };
}

function readCompletion(completion: unknown, question: Question, names: ToolNames): Answer {
  const choices = isObject(completion) ? completion["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const message = isObject(choice) ? choice["message"] : undefined;
  if (!isObject(completion) || !isObject(choice) || !isObject(message)) throw malformed("no choices");
  const { content, refusal, tool_calls: calls } = message;
  const text = typeof content === "string" ? content : typeof refusal === "string" ? refusal : "";
  const toolCalls = Array.isArray(calls) ? calls.map((call) => callOf(call, names)) : [];
  return {
    ...{ text, toolCalls, model: String(completion["model"] ?? "") },
    finish: typeof refusal === "string" ? "refused" : finishOf(choice["finish_reason"]),
    ...tokensOf(completion["usage"], question, text + JSON.stringify(calls ?? "")),
  };
}

function callOf(call: unknown, names: ToolNames): ToolCall {
  const asked = isObject(call) ? call["function"] : undefined;
  if (!isObject(call) || !isObject(asked)) throw malformed("a tool call without its parts");
  const { id } = call;
  const { name, arguments: input } = asked;
  if (typeof id !== "string" || typeof name !== "string" || typeof input !== "string")
    throw malformed("a tool call without its parts");
  return { id, name: names.back(name), arguments: argumentsOf(input, name) };
}

/** A call as it comes in: its arguments are pieces of JSON. */
interface OpenCall {
  id: string;
  name: string;
  json: string;
}

async function* readChunks(
  chunks: AsyncIterable<ChatCompletionChunk>,
  question: Question,
  names: ToolNames,
  renew: () => void,
): AsyncGenerator<Piece> {
  let [text, refusal, model] = ["", "", ""];
  let [finish, usage] = [undefined as unknown, undefined as unknown];
  const calls = new Map<number, OpenCall>();
  for await (const chunk of chunks) {
    renew();
    if (!isObject(chunk)) throw malformed("a chunk that is none");
    model = chunk.model ?? model;
    usage = chunk.usage ?? usage;
    const choice = chunk.choices?.[0];
    if (choice === undefined) continue;
    finish = choice.finish_reason ?? finish;
    refusal += choice.delta?.refusal ?? "";
    for (const part of choice.delta?.tool_calls ?? []) addPart(calls, part);
    const more = choice.delta?.content;
    if (typeof more !== "string" || more === "") continue;
    text += more;
    yield { text: more };
  }
  if (finish === undefined) throw new ProviderFault("cut", "its answer broke off");
  const all = [...calls.values()];
  const toolCalls = all.map(({ id, name, json }) => ({
    id,
    name: names.back(name),
    arguments: argumentsOf(json, name),
  }));
  const answer = {
    ...{ text: text || refusal, toolCalls, model },
    finish: refusal === "" ? finishOf(finish) : ("refused" as const),
    ...tokensOf(usage, question, text + JSON.stringify(all)),
  };
  yield { answer };
}

function addPart(
  calls: Map<number, OpenCall>,
  part: { index: number; id?: string; function?: { name?: string; arguments?: string } },
): void {
  const call = calls.get(part.index) ?? { id: "", name: "", json: "" };
  calls.set(part.index, call);
  call.id ||= part.id ?? "";
  call.name ||= part.function?.name ?? "";
  call.json += part.function?.arguments ?? "";
}
