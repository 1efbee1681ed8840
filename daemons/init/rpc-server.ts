import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Metadata, MethodDefinition } from "@grpc/grpc-js";
import { AiosError, type Code } from "#lib/errors";
import { type Log, withCorrelation } from "#lib/log";
import { type Call, type Identity, identify, type Service } from "#lib/service";
import { contentType, correlationHeader, frame, frameReader, parseTimeout, statusTrailers } from "./rpc-frames.ts";

// biome-ignore lint/suspicious/noExplicitAny: the four shapes of a handler are told apart by the definition
type AnyHandler = (...args: any[]) => any;
type Method = MethodDefinition<unknown, unknown>;

interface Route {
  readonly method: Method;
  /** Absent: the call is in the contract and not implemented. */
  readonly handler?: AnyHandler;
}

export interface RpcServer {
  /** Listens on a Unix socket with this mode, in place of a stale one. */
  listen(path: string, mode: number): Promise<void>;
  /** Ends every connection at once. */
  close(): void;
}

/**
 * Serves `services` as `#lib/server` does, straight on HTTP/2: see `connectLight` for why. Calls come from `peer`, or from
 * an operator for whom it speaks. `newId` makes correlation ids for calls that come without one.
 */
export function createLightServer(
  services: readonly Service[],
  peer: Identity,
  log: Log,
  newId: () => string,
): RpcServer {
  const routes = new Map(services.flatMap(routesOf));
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => {});
    const id = idOf(headers) ?? newId();
    withCorrelation(id, () => answer(stream, headers, routes, peer)).catch((error: unknown) => {
      withCorrelation(id, () => refuse(stream, error, headers[":path"] ?? "", id, log));
    });
  });
  return {
    async listen(path, mode) {
      rmSync(path, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(path, resolve);
      });
      chmodSync(path, mode);
    },
    close() {
      server.close();
      // Not the sessions: they would tell each caller of an internal error, where the truth is that nobody is there.
      for (const socket of sockets) socket.destroy();
    },
  };
}

function routesOf({ definition, handlers }: Service): [string, Route][] {
  return Object.entries(definition).map(([name, method]) => {
    const handler = (handlers as Record<string, AnyHandler | undefined>)[name];
    return [method.path, { method, ...(handler !== undefined && { handler }) }];
  });
}

function idOf(headers: IncomingHttpHeaders): string | undefined {
  const id = headers[correlationHeader];
  return typeof id === "string" && id.length <= 64 ? id : undefined;
}

/** Answers one call. Throws what the caller is to be told instead. */
async function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  routes: ReadonlyMap<string, Route>,
  peer: Identity,
): Promise<void> {
  const path = headers[":path"] ?? "";
  const route = routes.get(path);
  if (route?.handler === undefined) throw new AiosError("UNIMPLEMENTED", `call ${path}: it is not implemented here`);
  const metadata = { get: (name: string) => (name in headers ? [headers[name]] : []) } as unknown as Metadata;
  const call: Call = { identity: identify(peer, metadata), signal: endOf(stream, headers), metadata };
  const { method, handler } = route;
  const requests = read(stream, method);
  const request = method.requestStream ? requests : await only(requests, path);
  if (!method.responseStream) {
    const message = method.responseSerialize(await handler(request, call));
    open(stream);
    stream.write(frame(message));
  } else {
    for await (const response of handler(request, call)) {
      open(stream);
      if (call.signal.aborted) break;
      if (!stream.write(frame(method.responseSerialize(response)))) await drained(stream, call.signal);
    }
    if (call.signal.aborted) throw call.signal.reason;
    open(stream);
  }
  finish(stream, "OK");
}

/** Aborted when the caller goes away or its deadline passes. */
function endOf(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): AbortSignal {
  const end = new AbortController();
  const timeoutMs = parseTimeout(headers["grpc-timeout"]);
  const late = () => end.abort(new AiosError("DEADLINE_EXCEEDED", "the caller's deadline has passed"));
  const deadline = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
  stream.once("close", () => {
    clearTimeout(deadline);
    end.abort(new AiosError("CANCELLED", "the caller cancelled the call"));
  });
  return end.signal;
}

async function* read(stream: ServerHttp2Stream, method: Method): AsyncIterable<unknown> {
  const frames = frameReader();
  // Left alone when the reading ends early: the answer is still to go out on it.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    for (const message of frames(chunk as Buffer)) yield method.requestDeserialize(message);
  }
}

async function only(requests: AsyncIterable<unknown>, path: string): Promise<unknown> {
  let first: { request: unknown } | undefined;
  for await (const request of requests) first ??= { request };
  if (first === undefined) throw new AiosError("INVALID_ARGUMENT", `call ${path}: there is no request`);
  return first.request;
}

/** Sends the headers, once. The status follows in the trailers. */
function open(stream: ServerHttp2Stream): void {
  if (!stream.headersSent && !stream.destroyed) {
    stream.respond({ ":status": 200, "content-type": contentType }, { waitForTrailers: true });
  }
}

function finish(stream: ServerHttp2Stream, code: Code | "OK", message?: string): void {
  if (stream.destroyed) return;
  const trailers = statusTrailers(code, message);
  if (!stream.headersSent) {
    stream.respond({ ":status": 200, "content-type": contentType, ...trailers }, { endStream: true });
  } else {
    stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end();
  }
}

/** Our errors as they are; any other is INTERNAL, and is in the log under the correlation id. */
function refuse(stream: ServerHttp2Stream, error: unknown, path: string, id: string, log: Log): void {
  if (error instanceof AiosError) {
    finish(stream, error.code, error.message);
  } else {
    log.error("call failed", { path, error });
    finish(stream, "INTERNAL", `${path}: internal error; look for correlation id ${id} in the machine's log`);
  }
}

async function drained(stream: ServerHttp2Stream, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    stream.once("drain", resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
