import type {
  ChatCompletionChunk,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions/completions";
import type { Clock } from "#lib/clock";
import type { Message, Wire } from "../question.ts";
import type { Learned, Part } from "./learned.ts";
import { schemaPart } from "./learned.ts";
import { type ToolNames, toolNames } from "./names.ts";
import { readChunks, readCompletion } from "./openai-answer.ts";
import { openaiDialect } from "./openai-schema.ts";
import { fitSchema, type Schema, schemaInWords, toolInput } from "./schema-fit.ts";
import { boundedFetch, withoutHalves } from "./transport.ts";
import { type Asking, requested, sdkTimeoutMs, unasked, type WireSettings } from "./wire.ts";

/** OpenAI's chat completions API, by its SDK; and whatever speaks the same protocol. */
export function openaiWire(settings: WireSettings, clock: Clock, learned: Learned): Wire {
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
      const asking = { question, maxTokens, names: toolNames(question.tools) };
      const body = bodyOf(asking, settings, learned);
      const completions = await open(key);
      yield* requested({ ...settings, clock, key, caller }, async function* ({ signal }) {
        const answered = await learning(learned, body, () => completions.create(body, { signal }));
        yield await learning(learned, body, async () => {
          const streamed = await unasked(answered, (chunks: AsyncIterable<ChatCompletionChunk>) =>
            readChunks(chunks, asking, () => {}),
          );
          return streamed ?? { answer: readCompletion(answered, asking) };
        });
      });
    },
    async *stream(question, maxTokens, key, caller) {
      const asking = { question, maxTokens, names: toolNames(question.tools) };
      const counted = learned.without("stream_options") ? {} : { stream_options: { include_usage: true } };
      const body = { ...bodyOf(asking, settings, learned), stream: true, ...counted } as const;
      const completions = await open(key);
      yield* requested({ ...settings, clock, key, caller }, async function* ({ signal, renew }) {
        const chunks = await learning(learned, body, () => completions.create(body, { signal }));
        yield* readChunks(chunks, asking, renew);
      });
    },
  };
}

/** Parts of a request that some who speak the protocol refuse, in the words in which they do. */
const parts: readonly Part[] = [
  { name: "temperature", means: /\btemperature\b/ },
  { name: "stream_options", means: /stream_options|include_usage/ },
  { name: "max_tokens", means: /max_completion_tokens/ },
  { name: "tool_choice", means: /tool_choice/ },
];

type Body = Omit<ChatCompletionCreateParamsNonStreaming, "stream"> & { readonly stream?: boolean };

/** One request of an SDK; what it refuses of it is learned. */
async function learning<T>(learned: Learned, body: Body, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const format = body.response_format;
    const schema = format?.type === "json_schema" ? [schemaPart(format.json_schema.schema)] : [];
    learned.learn(error, [
      ...parts.filter(({ name }) => name in body),
      ...schema.map((name) => ({ name, means: /invalid schema|schema.*(not supported|unsupported|not permitted)/i })),
      ...(schema.length > 0
        ? [{ name: "response_format", means: /response_format|json_schema|structured output/i }]
        : []),
    ]);
    throw error;
  }
}

function bodyOf({ question, maxTokens, names }: Asking, { model, ownServer }: WireSettings, learned: Learned): Body {
  const { temperature, tools, toolChoice, jsonSchema } = question;
  const format = jsonSchema && formatOf(jsonSchema, learned);
  const words = jsonSchema !== undefined && format === undefined ? [schemaInWords(jsonSchema)] : [];
  const system = [question.system, ...words].filter((part) => part !== "").join("\n\n");
  return {
    model,
    ...(temperature !== undefined && !learned.without("temperature") && { temperature }),
    ...(ownServer || learned.without("max_tokens") ? { max_completion_tokens: maxTokens } : { max_tokens: maxTokens }),
    messages: [
      ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
      ...question.messages.map((message) => messageOf(message, names)),
    ],
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, inputSchema }) => ({
        type: "function" as const,
        function: { name: names.outward(name), description, parameters: toolInput(inputSchema) },
      })),
      ...(!learned.without("tool_choice") && { tool_choice: choiceOf(toolChoice, names) }),
    }),
    ...(format && { response_format: format }),
  };
}

function choiceOf(choice: string, names: ToolNames) {
  if (choice === "auto" || choice === "none" || choice === "required") return choice;
  return { type: "function", function: { name: names.outward(choice) } } as const;
}

/** The provider is held to what `strict` takes; what it does not take is asked for without. Undefined: it takes no such root. */
function formatOf(schema: Schema, learned: Learned) {
  if (learned.without("response_format")) return undefined;
  const strict = fitSchema(schema, openaiDialect);
  if (strict === undefined && schema["type"] !== "object") return undefined;
  const asked = { name: "answer", schema: { ...(strict ?? schema) }, strict: strict !== undefined };
  if (learned.without(schemaPart(asked.schema))) return undefined;
  return { type: "json_schema" as const, json_schema: asked };
}

function messageOf(message: Message, names: ToolNames): ChatCompletionMessageParam {
  if (message.role === "user") return { role: "user", content: message.text };
  if (message.role === "tool") return { role: "tool", tool_call_id: message.callId, content: message.text };
  const calls = message.toolCalls.map(({ id, name, arguments: input }) => ({
    ...{ id, type: "function" as const },
    function: { name: names.outward(name), arguments: withoutHalves(JSON.stringify(input)) },
  }));
  return { role: "assistant", content: message.text || null, ...(calls.length > 0 && { tool_calls: calls }) };
}
