import type {
  ContentBlockParam,
  MessageCreateParamsBase,
  MessageParam,
  RawMessageStreamEvent,
} from "@anthropic-ai/sdk/resources/messages/messages";
import type { Clock } from "#lib/clock";
import { claudeDialect } from "./claude-schema.ts";
import { ProviderFault } from "./fault.ts";
import { type ToolNames, toolNames } from "./names.ts";
import type { Answer, Finish, Message, Piece, Question, ToolCall, Wire } from "./question.ts";
import { fitted, schemaInWords, toolInput } from "./schema-fit.ts";
import { boundedFetch } from "./transport.ts";
import { argumentsOf, count, isObject, malformed, requested, sdkTimeoutMs, type WireSettings } from "./wire.ts";

/** Anthropic's Messages API, by its SDK. It no longer knows a temperature: a question's is not sent. */
export function claudeWire(settings: WireSettings, clock: Clock): Wire {
  const open = async (key: string | undefined) => {
    const { BaseAnthropic, Messages } = await import("./sdk/claude.ts");
    const client = new BaseAnthropic({
      ...{ baseURL: settings.baseUrl, apiKey: key ?? "none", authToken: null, logLevel: "off" },
      ...{ maxRetries: 0, timeout: sdkTimeoutMs, fetch: boundedFetch },
    });
    return new Messages(client);
  };
  return {
    async *ask(question, maxTokens, key, caller) {
      const names = toolNames(question.tools);
      const body = bodyOf(question, settings.model, maxTokens, names);
      const messages = await open(key);
      yield* requested(settings, clock, key, caller, async function* ({ signal }) {
        yield { answer: readMessage(await messages.create({ ...body, stream: false }, { signal }), names) };
      });
    },
    async *stream(question, maxTokens, key, caller) {
      const names = toolNames(question.tools);
      const body = bodyOf(question, settings.model, maxTokens, names);
      const messages = await open(key);
      yield* requested(settings, clock, key, caller, async function* ({ signal, renew }) {
        yield* readEvents(await messages.create({ ...body, stream: true }, { signal }), names, renew);
      });
    },
  };
}

function bodyOf(question: Question, model: string, maxTokens: number, names: ToolNames): MessageCreateParamsBase {
  const { tools, toolChoice, jsonSchema } = question;
  const schema = jsonSchema && fitted(jsonSchema, claudeDialect);
  const words = jsonSchema !== undefined && schema === undefined ? [schemaInWords(jsonSchema)] : [];
  const system = [question.system, ...words].filter((part) => part !== "").join("\n\n");
  return {
    model,
    max_tokens: maxTokens,
    messages: merged(question.messages.map((message) => messageOf(message, names))),
    ...(system !== "" && { system }),
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, inputSchema }) => ({
        name: names.outward(name),
        description,
        input_schema: toolInput(inputSchema),
      })),
      tool_choice: choiceOf(toolChoice, names),
    }),
    ...(schema && { output_config: { format: { type: "json_schema" as const, schema: { ...schema } } } }),
  };
}

function choiceOf(choice: string, names: ToolNames) {
  if (choice === "auto" || choice === "none") return { type: choice } as const;
  return choice === "required" ? ({ type: "any" } as const) : ({ type: "tool", name: names.outward(choice) } as const);
}

type Blocks = ContentBlockParam[];

function messageOf(message: Message, names: ToolNames): { role: "user" | "assistant"; content: Blocks } {
  if (message.role === "user") return { role: "user", content: [{ type: "text", text: message.text }] };
  if (message.role === "tool") {
    const { callId, text, isError } = message;
    return {
      role: "user",
      content: [{ type: "tool_result", tool_use_id: callId, content: text, ...(isError && { is_error: true }) }],
    };
  }
  const calls: Blocks = message.toolCalls.map(({ id, name, arguments: input }) => ({
    ...{ type: "tool_use" as const, id, name: names.outward(name), input },
  }));
  // An empty block of text is refused.
  const text: Blocks = message.text === "" ? [] : [{ type: "text", text: message.text }];
  return { role: "assistant", content: [...text, ...calls] };
}

/** Neighbours of one role as one message: the results of calls made together must come together. */
function merged(messages: readonly { role: "user" | "assistant"; content: Blocks }[]): MessageParam[] {
  const together: { role: "user" | "assistant"; content: Blocks }[] = [];
  for (const { role, content } of messages) {
    const last = together.at(-1);
    if (last?.role === role) last.content.push(...content);
    else together.push({ role, content: [...content] });
  }
  return together;
}

const finishes: Readonly<Record<string, Finish>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool_calls",
  refusal: "refused",
};

function finishOf(reason: unknown): Finish {
  const finish = typeof reason === "string" ? finishes[reason] : undefined;
  if (finish === undefined) throw malformed("no stop_reason that we know");
  return finish;
}

/** Input tokens wherever they were counted: read from the provider's cache they are cheaper, and counted in full. */
function inputTokensOf(usage: unknown): number | undefined {
  if (!isObject(usage)) return undefined;
  const fresh = count(usage["input_tokens"]);
  if (fresh === undefined) return undefined;
  return fresh + (count(usage["cache_creation_input_tokens"]) ?? 0) + (count(usage["cache_read_input_tokens"]) ?? 0);
}

function readMessage(message: unknown, names: ToolNames): Answer {
  if (!isObject(message) || !Array.isArray(message["content"])) throw malformed("no content");
  const { model, usage, stop_reason: reason } = message;
  const inputTokens = inputTokensOf(usage);
  const outputTokens = count(isObject(usage) ? usage["output_tokens"] : undefined);
  if (typeof model !== "string" || inputTokens === undefined || outputTokens === undefined)
    throw malformed("no model or usage");
  const blocks = message["content"].filter(isObject);
  const text = blocks.map((block) => (block["type"] === "text" ? String(block["text"] ?? "") : "")).join("");
  const toolCalls = blocks.filter(({ type }) => type === "tool_use").map((block) => callOf(block, names));
  return { text, toolCalls, finish: finishOf(reason), model, inputTokens, outputTokens };
}

function callOf({ id, name, input }: Record<string, unknown>, names: ToolNames): ToolCall {
  if (typeof id !== "string" || typeof name !== "string" || !isObject(input))
    throw malformed("a tool call without its parts");
  return { id, name: names.back(name), arguments: input };
}

/** A call as it comes in: its arguments are pieces of JSON. */
interface OpenCall {
  readonly id: string;
  readonly name: string;
  json: string;
}

async function* readEvents(
  events: AsyncIterable<RawMessageStreamEvent>,
  names: ToolNames,
  renew: () => void,
): AsyncGenerator<Piece> {
  let [text, model, stop] = ["", "", undefined as unknown];
  let [inputTokens, outputTokens, ended] = [0, 0, false];
  const calls = new Map<number, OpenCall>();
  for await (const event of events) {
    renew();
    if (!isObject(event)) throw malformed("an event that is none");
    if (event.type === "message_start") {
      model = event.message?.model ?? "";
      inputTokens = inputTokensOf(event.message?.usage) ?? 0;
    } else if (event.type === "content_block_start" && event.content_block?.type === "tool_use") {
      const { id, name } = event.content_block;
      calls.set(event.index, { id, name: names.back(name), json: "" });
    } else if (event.type === "content_block_delta" && event.delta?.type === "text_delta") {
      text += event.delta.text;
      yield { text: event.delta.text };
    } else if (event.type === "content_block_delta" && event.delta?.type === "input_json_delta") {
      const call = calls.get(event.index);
      if (call === undefined) throw malformed("arguments of a call that was not begun");
      call.json += event.delta.partial_json;
    } else if (event.type === "message_delta") {
      stop = event.delta?.stop_reason;
      outputTokens = count(event.usage?.output_tokens) ?? outputTokens;
    } else if (event.type === "message_stop") ended = true;
  }
  if (!ended) throw new ProviderFault("cut", "its answer broke off");
  const toolCalls = [...calls.values()].map(({ id, name, json }) => ({ id, name, arguments: argumentsOf(json, name) }));
  yield { answer: { text, toolCalls, finish: finishOf(stop), model, inputTokens, outputTokens } };
}
