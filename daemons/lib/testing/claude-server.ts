/** For tests: a server that speaks Anthropic's Messages API, from its public reference. */
import { refusedFormat, refusedToolInput } from "./claude-refusals.ts";
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

/** Its base URL is the server's `url`. */
export const openClaudeServer = (options?: ModelServerOptions): Promise<ModelServer> =>
  openModelServer(claudeProtocol, options);

const errorTypes: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  500: "api_error",
  529: "overloaded_error",
};

const event = (data: { type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;

const claudeProtocol: Protocol = {
  path: "/v1/messages",
  refuse({ headers, body }, { key, takes }) {
    const bearer = /^Bearer (.*)$/.exec(headers["authorization"] ?? "")?.[1];
    const given =
      { "x-api-key": headers["x-api-key"], authorization: bearer }[takes ?? "x-api-key"] ??
      (takes ? undefined : bearer);
    // A server without a key, as on one's own machine, takes requests without one.
    if (key !== undefined && given !== key)
      return {
        status: 401,
        message: given === undefined ? `${takes ?? "x-api-key"} header is required` : "invalid x-api-key",
      };
    if (!/^20\d\d-\d\d-\d\d$/.test(String(headers["anthropic-version"])))
      return { status: 400, message: "anthropic-version: header is required" };
    const wrong = wrongWith(body);
    return wrong === undefined ? undefined : { status: 400, message: wrong };
  },
  error: (status, message) => ({
    type: "error",
    error: { type: errorTypes[status] ?? "api_error", message },
    request_id: "req_1",
  }),
  whole: (seen, reply) => ({
    ...beginning(seen, reply),
    content: [...(reply.text === "" ? [] : [{ type: "text", text: reply.text, citations: null }]), ...calls(reply)],
    stop_reason: stopOf(reply),
    usage: { ...usageOf(seen, reply), output_tokens: outputOf(reply) },
  }),
  parts(seen, reply) {
    const uses = calls(reply);
    const first = reply.text === "" ? 0 : 1;
    const block = (index: number, content_block: unknown, deltas: readonly unknown[]) => [
      event({ type: "content_block_start", index, content_block } as { type: string }),
      ...deltas.map((delta) => event({ type: "content_block_delta", index, delta } as { type: string })),
      event({ type: "content_block_stop", index } as { type: string }),
    ];
    const texts = inPieces(reply.text).map((text) => ({ type: "text_delta", text }));
    return [
      event({
        type: "message_start",
        message: {
          ...beginning(seen, reply),
          content: [],
          stop_reason: null,
          usage: { ...usageOf(seen, reply), output_tokens: 1 },
        },
      } as { type: string }),
      event({ type: "ping" }),
      ...(first === 0 ? [] : block(0, { type: "text", text: "" }, texts)),
      ...uses.flatMap(({ input, ...use }, at) =>
        block(
          first + at,
          { ...use, input: {} },
          ["", ...inPieces(JSON.stringify(input))].map((partial_json) => ({ type: "input_json_delta", partial_json })),
        ),
      ),
      event({
        type: "message_delta",
        delta: { stop_reason: stopOf(reply), stop_sequence: null },
        usage: { output_tokens: outputOf(reply) },
      } as { type: string }),
      event({ type: "message_stop" }),
    ];
  },
  partError: (message) => event({ type: "error", error: { type: "overloaded_error", message } } as { type: string }),
};

const beginning = ({ body }: Seen, _: Reply) => ({
  ...{ id: "msg_1", type: "message", role: "assistant", model: body.model, stop_sequence: null },
});

const calls = ({ toolCalls = [] }: Reply) =>
  toolCalls.map(({ name, arguments: input }, at) => ({ type: "tool_use", id: `toolu_${at + 1}`, name, input }));

const stopOf = ({ finish, toolCalls = [] }: Reply) => finish ?? (toolCalls.length > 0 ? "tool_use" : "end_turn");

const usageOf = ({ body }: Seen, { inputTokens }: Reply) => ({
  input_tokens: inputTokens ?? tokensOf([body.system, body.messages, body.tools]),
  ...{ cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
});

const outputOf = (reply: Reply) => reply.outputTokens ?? tokensOf([reply.text, reply.toolCalls]);

// biome-ignore lint/suspicious/noExplicitAny: it is looked into to say what is wrong with it
function wrongWith(body: any): string | undefined {
  if (typeof body !== "object" || body === null) return "the request body is not valid JSON";
  if (typeof body.model !== "string") return "model: field required";
  if (!Number.isInteger(body.max_tokens) || body.max_tokens < 1) return "max_tokens: field required";
  if (!Array.isArray(body.messages) || body.messages.length === 0) return "messages: at least one message is required";
  if (body.messages[0].role !== "user") return "messages: first message must use the user role";
  for (const { name, input_schema: schema } of body.tools ?? []) {
    if (!toolNamePattern.test(name))
      return `tools.0.custom.name: String should match pattern '${toolNamePattern.source}'`;
    const refused = refusedToolInput(schema);
    if (refused !== undefined) return `tools.0.custom.${refused}`;
  }
  const format = body.output_config?.format;
  if (format !== undefined && (format.type !== "json_schema" || typeof format.schema !== "object"))
    return "output_config.format: Input should be a json_schema";
  const refused = format && refusedFormat(format.schema);
  if (refused !== undefined) return refused;
  return wrongCalls(body.messages);
}

/** Each tool_use must be answered by a tool_result in the next message, and no other. */
// biome-ignore lint/suspicious/noExplicitAny: as above
function wrongCalls(messages: readonly any[]): string | undefined {
  let open: string[] = [];
  for (const [at, { role, content }] of messages.entries()) {
    if (role !== "user" && role !== "assistant") return `messages.${at}.role: Input should be 'user' or 'assistant'`;
    const blocks: { type: string; id: string; tool_use_id: string; text?: string }[] = Array.isArray(content)
      ? content
      : [{ type: "text", text: content }];
    if (blocks.some(({ type, text }) => type === "text" && text === ""))
      return "messages: text content blocks must be non-empty";
    const answered = blocks.filter(({ type }) => type === "tool_result").map((block) => block.tool_use_id);
    const missing = open.filter((id) => !answered.includes(id));
    if (missing.length > 0) return `messages.${at}: tool_use ids were found without tool_result blocks: ${missing}`;
    const strange = answered.filter((id) => !open.includes(id));
    if (strange.length > 0) return `messages.${at}: unexpected tool_use_id found in tool_result blocks: ${strange}`;
    open = blocks.filter(({ type }) => type === "tool_use").map(({ id }) => id);
  }
  return undefined;
}
