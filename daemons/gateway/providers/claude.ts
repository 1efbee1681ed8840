import type {
  ContentBlockParam,
  MessageCreateParamsBase,
  MessageParam,
  RawMessageStreamEvent,
} from "@anthropic-ai/sdk/resources/messages/messages";
import type { Clock } from "#lib/clock";
import type { Answer, Finish, Message, Piece, Wire } from "../question.ts";
import { claudeDialect } from "./claude-schema.ts";
import { ProviderFault } from "./fault.ts";
import { type Learned, schemaPart } from "./learned.ts";
import { type ToolNames, toolNames } from "./names.ts";
import { fitSchema, type Schema, schemaInWords, toolInput } from "./schema-fit.ts";
import { boundedFetch } from "./transport.ts";
import {
  type Asking,
  callsOf,
  count,
  errorIn,
  isObject,
  malformed,
  own,
  requested,
  sdkTimeoutMs,
  tokensOf,
  unasked,
  type WireSettings,
} from "./wire.ts";

/** Anthropic's Messages API, by its SDK. It no longer knows a temperature: a question's is not sent. */
export function claudeWire(settings: WireSettings, clock: Clock, learned: Learned): Wire {
  const open = async (key: string | undefined) => {
    const { BaseAnthropic, Messages } = await import("./sdk/claude.ts");
    const client = new BaseAnthropic({
      ...{ baseURL: settings.baseUrl, apiKey: key ?? "none", authToken: null, logLevel: "off" },
      ...{ maxRetries: 0, timeout: sdkTimeoutMs, fetch: boundedFetch },
      defaultHeaders: headersOf(settings, key),
    });
    return new Messages(client);
  };
  return {
    async *ask(question, maxTokens, key, caller) {
      const asking = { question, maxTokens, names: toolNames(question.tools) };
      const body = bodyOf(asking, settings.model, learned);
      const messages = await open(key);
      yield* requested({ ...settings, clock, key, caller }, async function* ({ signal }) {
        const answered = await learning(learned, body, () => messages.create({ ...body, stream: false }, { signal }));
        yield await learning(learned, body, async () => {
          const streamed = await unasked(answered, (events: AsyncIterable<RawMessageStreamEvent>) =>
            readEvents(events, asking, () => {}),
          );
          return streamed ?? { answer: readMessage(answered, asking) };
        });
      });
    },
    async *stream(question, maxTokens, key, caller) {
      const asking = { question, maxTokens, names: toolNames(question.tools) };
      const body = bodyOf(asking, settings.model, learned);
      const messages = await open(key);
      yield* requested({ ...settings, clock, key, caller }, async function* ({ signal, renew }) {
        const events = await learning(learned, body, () => messages.create({ ...body, stream: true }, { signal }));
        yield* readEvents(events, asking, renew);
      });
    },
  };
}

/** The SDK sends a bearer token alone. Others who speak the protocol read that or x-api-key; one without a key is sent none. */
function headersOf({ ownServer }: WireSettings, key: string | undefined) {
  if (key === undefined) return { authorization: null };
  return ownServer ? {} : { "x-api-key": key };
}

/** One request of the SDK; what is refused of its schema is learned. */
async function learning<T>(learned: Learned, body: MessageCreateParamsBase, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const schema = body.output_config?.format?.schema;
    if (schema === undefined) throw error;
    learned.learn(error, [
      { name: schemaPart(schema), means: /output_config\.format\.schema|schema is too complex|invalid schema/i },
      { name: "output_config", means: /output_config|output_format|structured output/i },
    ]);
    throw error;
  }
}

function bodyOf({ question, maxTokens, names }: Asking, model: string, learned: Learned): MessageCreateParamsBase {
  const { tools, toolChoice, jsonSchema } = question;
  const schema = jsonSchema && formatOf(jsonSchema, learned);
  const words = jsonSchema !== undefined && schema === undefined ? [schemaInWords(jsonSchema)] : [];
  const system = [question.system, ...words].filter((part) => part !== "").join("\n\n");
  return {
    model,
    max_tokens: maxTokens,
    messages: mergeTurns(question.messages.map((message) => messageOf(message, names))),
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

function formatOf(schema: Schema, learned: Learned): Schema | undefined {
  if (learned.without("output_config")) return undefined;
  const fit = fitSchema(schema, claudeDialect);
  return fit === undefined || learned.without(schemaPart(fit)) ? undefined : fit;
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
function mergeTurns(messages: readonly { role: "user" | "assistant"; content: Blocks }[]): MessageParam[] {
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
  const finish = typeof reason === "string" ? own(finishes, reason) : undefined;
  if (finish === undefined) throw malformed("no stop_reason that we know");
  return finish;
}

/** Input tokens wherever they were counted: read from the provider's cache they are cheaper, and counted in full. */
function inputTokensOf(usage: unknown): number | undefined {
  if (!isObject(usage)) return undefined;
  const parts = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
  return parts.reduce((sum, part) => sum + (count(usage[part]) ?? 0), 0) || undefined;
}

function readMessage(message: unknown, { question, names }: Asking): Answer {
  const failed = errorIn(message);
  if (failed !== undefined) throw failed;
  if (!isObject(message) || !Array.isArray(message["content"])) throw malformed("no content");
  const { model, usage, stop_reason: reason } = message;
  const blocks = message["content"].filter(isObject);
  const text = blocks.map((block) => (block["type"] === "text" ? String(block["text"] ?? "") : "")).join("");
  const asked = blocks.filter(({ type }) => type === "tool_use").map((block) => callOf(block, names));
  const counted = isObject(usage) ? count(usage["output_tokens"]) : undefined;
  // What was reasoned is paid for too.
  const tokens = tokensOf(inputTokensOf(usage), counted, question, JSON.stringify(blocks));
  const finish = finishOf(reason);
  return { text, toolCalls: callsOf(asked, finish, tokens), finish, model: String(model ?? ""), ...tokens };
}

/** A call as it comes in: its arguments are pieces of JSON. */
interface OpenCall {
  readonly id: string;
  readonly name: string;
  json: string;
}

function callOf({ id, name, input }: Record<string, unknown>, names: ToolNames): OpenCall {
  if (typeof name !== "string" || !isObject(input)) throw malformed("a tool call without its parts");
  return { id: typeof id === "string" ? id : "", name: names.back(name), json: JSON.stringify(input) };
}

async function* readEvents(
  events: AsyncIterable<RawMessageStreamEvent>,
  { question, names }: Asking,
  renew: () => void,
): AsyncGenerator<Piece> {
  let [text, reasoned, model, stop] = ["", "", "", undefined as unknown];
  let [inputTokens, outputTokens] = [undefined as number | undefined, undefined as number | undefined];
  let ended = false;
  const calls = new Map<number, OpenCall>();
  for await (const event of events) {
    renew();
    if (!isObject(event)) throw malformed("an event that is none");
    if (event.type === "message_start") {
      model = event.message?.model ?? "";
      inputTokens = inputTokensOf(event.message?.usage);
    } else if (event.type === "content_block_start" && event.content_block?.type === "tool_use") {
      const { id, name } = event.content_block;
      calls.set(event.index, { id: id ?? "", name: names.back(name), json: "" });
    } else if (event.type === "content_block_delta" && event.delta?.type === "text_delta") {
      text += event.delta.text;
      yield { text: event.delta.text };
    } else if (event.type === "content_block_delta" && event.delta?.type === "thinking_delta") {
      reasoned += event.delta.thinking;
    } else if (event.type === "content_block_delta" && event.delta?.type === "input_json_delta") {
      const call = calls.get(event.index);
      if (call === undefined) throw malformed("arguments of a call that was not begun");
      call.json += event.delta.partial_json;
    } else if (event.type === "message_delta") {
      stop = event.delta?.stop_reason;
      // Some count the input at the end alone.
      inputTokens = Math.max(inputTokens ?? 0, inputTokensOf(event.usage) ?? 0) || undefined;
      outputTokens = count(event.usage?.output_tokens) ?? outputTokens;
    } else if (event.type === "message_stop") ended = true;
  }
  if (!ended) throw new ProviderFault("cut", "its answer broke off");
  const all = [...calls.values()];
  const tokens = tokensOf(inputTokens, outputTokens, question, text + reasoned + JSON.stringify(all));
  const finish = finishOf(stop);
  yield { answer: { text, toolCalls: callsOf(all, finish, tokens), finish, model, ...tokens } };
}
