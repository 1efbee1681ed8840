/**
 * For tests: an HTTP server that speaks a model provider's protocol, of which each answer can be told in advance.
 * claude-server.ts and openai-server.ts are the protocols. Nothing that ships imports this folder; it is in lib because
 * both the gateway's tests and the machine's tests (qemu/) need it.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** The model's words, or what goes wrong. Without anything it says "ok". */
export interface Reply {
  readonly text?: string;
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: unknown }[];
  /** Why it stopped, in the protocol's own word. */
  readonly finish?: string;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  /** An error of this HTTP status, in the protocol's own form. */
  readonly status?: number;
  readonly message?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is, with this type, and status 200 unless told otherwise. */
  readonly raw?: { readonly type: string; readonly body: string; readonly status?: number };
  /**
   * After this many parts of a stream the connection is cut (0: before the first); without a stream, in the middle of
   * the body.
   */
  readonly cutAfter?: number;
  /** After this many parts the stream ends in good order, but without its end. */
  readonly endAfter?: number;
  /** After this many parts the stream brings an error. */
  readonly failAfter?: number;
  /** After this many parts the stream says nothing more, and stays open. */
  readonly stallAfter?: number;
  /** Silence before the answer, and before each part of a stream, milliseconds. */
  readonly delayMs?: number;
  readonly pauseMs?: number;
  /** The text's length, characters. */
  readonly hugeLength?: number;
}

/** A request as it came. */
export interface Seen {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly body: any;
}

/** A provider's protocol: what it refuses, and how it says what is said. */
export interface Protocol {
  readonly path: string;
  /** Why a request is refused: status and message; undefined when it is a good one. */
  refuse(seen: Seen, options: ModelServerOptions): { status: number; message: string } | undefined;
  error(status: number, message: string): unknown;
  whole(seen: Seen, reply: Required<Pick<Reply, "text">> & Reply): unknown;
  /** The parts of a stream, each the bytes of one event. */
  parts(seen: Seen, reply: Required<Pick<Reply, "text">> & Reply): string[];
  /** An error inside a stream. */
  partError(message: string): string;
}

export interface ModelServer {
  /** "http://127.0.0.1:41234", without a path. */
  readonly url: string;
  readonly requests: readonly Seen[];
  /** These are given in turn; when none is left, `otherwise` says what. */
  say(...replies: Reply[]): void;
  /** The server goes away: connections are cut, new ones refused. */
  close(): Promise<void>;
}

/** The largest request that is read, bytes. */
const requestSizeMaxBytes = 16 * 1024 * 1024;

export interface ModelServerOptions {
  /** Where to listen; 127.0.0.1 and a free port unless told otherwise. */
  readonly host?: string;
  readonly port?: number;
  /** The key that is asked for; any when undefined. */
  readonly key?: string;
  readonly otherwise?: (seen: Seen) => Reply;
  /** Members of a body that are answered with 400, as by servers that speak only a part of the protocol. */
  readonly refuses?: readonly string[];
  /** The header in which the key is read; either when undefined. */
  readonly takes?: "x-api-key" | "authorization";
}

/** In the words of OpenAI's own, which says so of its reasoning models (gabrii/Cursor-Azure-GPT-5#33, 2025-09-15; johny-b/llmcomp#69, 2026-04-20). */
function refusedPart({ body }: Seen, { refuses = [] }: ModelServerOptions) {
  const part = refuses.find((name) => body?.[name] !== undefined);
  const value = part === "temperature" ? "Only the default (1) value is supported." : "";
  const message = `Unsupported value: '${part}' does not support ${JSON.stringify(part && body[part])} with this model. ${value}`;
  return part === undefined ? undefined : { status: 400, message };
}

export async function openModelServer(protocol: Protocol, options: ModelServerOptions = {}): Promise<ModelServer> {
  const requests: Seen[] = [];
  const replies: Reply[] = [];
  const server = createServer(async (request, response) => {
    try {
      const seen = await read(request);
      requests.push(seen);
      const refusal =
        seen.path === protocol.path
          ? (protocol.refuse(seen, options) ?? refusedPart(seen, options))
          : { status: 404, message: `nothing at ${seen.path}` };
      await answer(protocol, seen, refusal ?? replies.shift() ?? options.otherwise?.(seen) ?? {}, response);
    } catch {
      response.destroy();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  return {
    url: `http://${address}:${port}`,
    requests,
    say: (...more) => void replies.push(...more),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function read(request: IncomingMessage): Promise<Seen> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > requestSizeMaxBytes) throw new Error("the request is too large");
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return { path: request.url ?? "", headers: request.headers, body: parse(text) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function answer(protocol: Protocol, seen: Seen, reply: Reply, response: ServerResponse): Promise<void> {
  if (reply.delayMs !== undefined) await delay(reply.delayMs);
  const send = (status: number, type: string, body: string) =>
    void response.writeHead(status, { "content-type": type, ...reply.headers }).end(body);
  if (reply.status !== undefined) {
    const body = protocol.error(reply.status, reply.message ?? "something went wrong");
    return send(reply.status, "application/json", JSON.stringify(body));
  }
  if (reply.raw !== undefined) return send(reply.raw.status ?? 200, reply.raw.type, reply.raw.body);
  const text = reply.hugeLength === undefined ? (reply.text ?? "ok") : "x".repeat(reply.hugeLength);
  const said = { ...reply, text };
  if (seen.body?.stream === true) return stream(protocol, protocol.parts(seen, said), reply, response);
  const body = JSON.stringify(protocol.whole(seen, said));
  if (reply.cutAfter === undefined) return send(200, "application/json", body);
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.write(body.slice(0, body.length / 2), () => response.destroy());
}

async function stream(
  protocol: Protocol,
  parts: readonly string[],
  { cutAfter, endAfter, failAfter, stallAfter, pauseMs, headers }: Reply,
  response: ServerResponse,
): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache", ...headers });
  response.flushHeaders();
  const last = Math.min(...[cutAfter, endAfter, failAfter, stallAfter].map((after) => after ?? parts.length));
  for (const part of parts.slice(0, last)) {
    if (pauseMs !== undefined) await delay(pauseMs);
    if (response.destroyed) return;
    await new Promise<void>((resolve) => response.write(part, () => resolve()));
  }
  if (stallAfter !== undefined) return;
  if (cutAfter !== undefined) return void response.destroy();
  response.end(failAfter === undefined ? "" : protocol.partError("overloaded in the middle"));
}

/** A text in pieces, as a stream brings it. */
export function inPieces(text: string, length = Math.max(4, Math.ceil(text.length / 64))): string[] {
  return Array.from({ length: Math.ceil(text.length / length) }, (_, at) => text.slice(at * length, (at + 1) * length));
}

/** Tokens as a provider would count them, near enough. */
export function tokensOf(value: unknown): number {
  return Math.max(1, Math.ceil(JSON.stringify(value ?? "").length / 4));
}

/** The tool names that providers take. */
export const toolNamePattern = /^[a-zA-Z0-9_-]{1,64}$/;
