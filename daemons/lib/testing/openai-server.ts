/** For tests: a server that speaks OpenAI's chat completions API, from its public reference. */
import {
  inPieces,
  type ModelServer,
  type ModelServerOptions,
  openModelServer,
  type Protocol,
  type Reply,
  type Seen,
  tokensOf,
  toolNamePattern,
} from "./model-server.ts";
import { refusedFormat } from "./openai-refusals.ts";

/** Its base URL is the server's `url` and "/v1". */
export const openOpenaiServer = (options?: ModelServerOptions): Promise<ModelServer> =>
  openModelServer(openaiProtocol, options);

const errorTypes: Readonly<Record<number, string>> = {
  401: "invalid_request_error",
  429: "rate_limit_exceeded",
  500: "server_error",
};

const data = (value: unknown) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;

const openaiProtocol: Protocol = {
  path: "/v1/chat/completions",
  refuse({ headers, body }, { key }) {
    const given = headers["authorization"];
    // A server without a key, as on one's own machine, takes requests without one.
    if (key !== undefined && given !== `Bearer ${key}`)
      return { status: 401, message: `Incorrect API key provided: ${String(given).replace("Bearer ", "")}.` };
    const wrong = wrongWith(body);
    return wrong === undefined ? undefined : { status: 400, message: wrong };
  },
  error: (status, message) => ({
    error: { message, type: errorTypes[status] ?? "invalid_request_error", param: null, code: null },
  }),
  whole: (seen, reply) => ({
    ...{ ...beginning(seen), object: "chat.completion" },
    choices: [
      {
        ...{ index: 0, logprobs: null, finish_reason: finishOf(reply) },
        message: {
          ...{ role: "assistant", content: reply.text || null, refusal: null },
          ...(calls(reply).length > 0 && { tool_calls: calls(reply) }),
        },
      },
    ],
    usage: usageOf(seen, reply),
  }),
  parts(seen, reply) {
    const chunk = (delta: unknown, finish_reason: string | null = null) =>
      data({ ...beginning(seen), object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] });
    return [
      chunk({ role: "assistant", content: "" }),
      ...inPieces(reply.text).map((content) => chunk({ content })),
      ...calls(reply).flatMap(({ function: { name, arguments: input }, id, type }, index) => [
        chunk({ tool_calls: [{ index, id, type, function: { name, arguments: "" } }] }),
        ...inPieces(input).map((piece) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] })),
      ]),
      chunk({}, finishOf(reply)),
      ...(seen.body.stream_options?.include_usage === true
        ? [data({ ...beginning(seen), object: "chat.completion.chunk", choices: [], usage: usageOf(seen, reply) })]
        : []),
      data("[DONE]"),
    ];
  },
  partError: (message) => data({ error: { message, type: "server_error", param: null, code: null } }),
};

const beginning = ({ body }: Seen) => ({ id: "chatcmpl-1", created: 1_790_000_000, model: body.model });

const calls = ({ toolCalls = [] }: Reply) =>
  toolCalls.map(({ name, arguments: input }, at) => ({
    ...{ id: `call_${at + 1}`, type: "function" },
    function: { name, arguments: typeof input === "string" ? input : JSON.stringify(input) },
  }));

const finishOf = ({ finish, toolCalls = [] }: Reply) => finish ?? (toolCalls.length > 0 ? "tool_calls" : "stop");

function usageOf({ body }: Seen, reply: Reply) {
  const prompt_tokens = reply.inputTokens ?? tokensOf([body.messages, body.tools]);
  const completion_tokens = reply.outputTokens ?? tokensOf([reply.text, reply.toolCalls]);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

// biome-ignore lint/suspicious/noExplicitAny: it is looked into to say what is wrong with it
function wrongWith(body: any): string | undefined {
  if (typeof body !== "object" || body === null) return "We could not parse the JSON body of your request.";
  if (typeof body.model !== "string") return "you must provide a model parameter";
  if (!Array.isArray(body.messages) || body.messages.length === 0) return "Invalid 'messages': empty array.";
  for (const tool of body.tools ?? [])
    if (!toolNamePattern.test(tool.function?.name))
      return `Invalid 'tools[0].function.name': string does not match pattern '${toolNamePattern.source}'.`;
  const format = body.response_format;
  const refused = format?.type === "json_schema" ? refusedFormat(format) : undefined;
  if (refused !== undefined) return refused;
  return wrongCalls(body.messages);
}

/** Each of an assistant's tool calls must be answered by a message of the role "tool" right after it. */
// biome-ignore lint/suspicious/noExplicitAny: as above
function wrongCalls(messages: readonly any[]): string | undefined {
  let open: string[] = [];
  for (const [at, { role, tool_call_id: id, tool_calls: asked = [] }] of messages.entries()) {
    if (!["system", "developer", "user", "assistant", "tool"].includes(role)) return `Invalid value: '${role}'.`;
    if (role === "tool") {
      if (!open.includes(id)) return `messages[${at}]: 'tool_call_id' of '${id}' not found in 'tool_calls' before it.`;
      open = open.filter((other) => other !== id);
      continue;
    }
    if (open.length > 0) return `The following tool_call_ids did not have response messages: ${open}`;
    open = (asked as { id: string }[]).map((call) => call.id);
  }
  return open.length > 0 ? `The following tool_call_ids did not have response messages: ${open}` : undefined;
}
