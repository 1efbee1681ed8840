import { chmodSync, lchownSync, rmSync } from "node:fs";
import type { Readable } from "node:stream";
import grpc from "@grpc/grpc-js";
import { callAfter } from "../clock.ts";
import { AiosError, codes } from "../errors.ts";
import { uuidv7 } from "../ids.ts";
import { correlationId, type Log, withCorrelation } from "../log.ts";
import { beginning } from "../text.ts";
import type { Call, Headers, Identity, Service } from "./service.ts";

/** The largest message a server takes, bytes. Larger things are streamed in chunks. */
export const messageSizeMaxBytes = 4 * 1024 * 1024;

/**
 * The most that the text of a status takes on the wire, bytes. It travels in a header: above 64 KiB of headers Node's HTTP/2
 * drops the code and resets the connection, other callers' calls with it (grpc-js 1.14.7).
 */
const detailsMaxBytes = 8 * 1024;

/** Idle connections are closed: memory grows with frequent reconnects otherwise. */
const serverOptions = {
  "grpc.max_receive_message_length": messageSizeMaxBytes,
  "grpc.max_connection_idle_ms": 300_000,
} as const;

export const correlationHeader = "x-correlation-id";

/** Trailer of a refusal that time mends: milliseconds after which the call can be made again. */
export const retryAfterHeader = "retry-after-ms";

/** A Unix socket to listen on, and whose it is. */
export interface Endpoint {
  readonly path: string;
  readonly identity: Identity;
  /** Owner of the socket file; unchanged when absent. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly mode: number;
}

type Caller = (call: grpc.ServerUnaryCall<unknown, unknown>) => Identity;
// biome-ignore lint/suspicious/noExplicitAny: the four shapes of a handler are told apart by the definition
type AnyHandler = (...args: any[]) => any;

/** A gRPC server of `services`; `identify` says who makes a call. `options` add to ours. */
export function createServer(
  services: readonly Service[],
  identify: Caller,
  log: Log,
  options: grpc.ServerOptions = {},
): grpc.Server {
  const server = new grpc.Server({ ...serverOptions, ...options });
  for (const { definition, handlers } of services) {
    const implementation: Record<string, grpc.UntypedHandleCall> = {};
    for (const [name, method] of Object.entries(definition)) {
      const handler = (handlers as Record<string, AnyHandler | undefined>)[name] ?? unimplemented(method.path);
      implementation[name] = adapt(method, handler, identify, log);
    }
    server.addService(definition as grpc.ServiceDefinition, implementation);
  }
  return server;
}

/** Listens on a Unix socket: removes a stale one, and gives the new one its owner and mode before anyone is answered. */
export async function listen(server: grpc.Server, endpoint: Endpoint): Promise<void> {
  rmSync(endpoint.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${endpoint.path}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error ? reject(new Error(`listen on ${endpoint.path}: ${error.message}`)) : resolve(),
    );
  });
  // Whose folder it is could put a link in its place.
  if (endpoint.owner) lchownSync(endpoint.path, endpoint.owner.uid, endpoint.owner.gid);
  chmodSync(endpoint.path, endpoint.mode);
}

/** Ends a server: lets calls in flight finish for `graceMs`, then cuts them off. */
export async function closeServer(server: grpc.Server, graceMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const inTime = callAfter(graceMs, () => {
      server.forceShutdown();
      resolve();
    });
    server.tryShutdown(() => {
      inTime();
      resolve();
    });
  });
}

function unimplemented(path: string): AnyHandler {
  return () => {
    throw new AiosError("UNIMPLEMENTED", `${path}: this version of the machine does not implement the call`);
  };
}

function adapt(
  method: grpc.MethodDefinition<unknown, unknown>,
  handler: AnyHandler,
  identify: Caller,
  log: Log,
): grpc.UntypedHandleCall {
  const begin = (call: grpc.ServerUnaryCall<unknown, unknown>) => {
    const abort = new AbortController();
    // Also emitted at the end of a call that was answered.
    let over = false;
    call.on("cancelled", () => {
      if (!over) abort.abort(new AiosError("CANCELLED", "the caller cancelled the call"));
    });
    const sent = call.metadata.get(correlationHeader)[0];
    const id = typeof sent === "string" && /^[\w.:-]{1,64}$/.test(sent) ? sent : uuidv7(Date.now());
    const markAnswered = () => {
      over = true;
    };
    const trailer = new grpc.Metadata();
    const context: Call = {
      ...{ identity: identify(call), signal: abort.signal, metadata: call.metadata },
      get peer() {
        return call.getPeer();
      },
      tell: (headers) => call.sendMetadata(metadataOf(headers)),
      add: (headers) => trailer.merge(metadataOf(headers)),
    };
    return { context, id, markAnswered, trailer };
  };
  const fail = (error: unknown) => statusOf(error, method.path, log);

  /** A fault while a call is answered costs that call: a promise that nobody waits for would end the daemon. */
  const failWith = (send: (status: Partial<grpc.StatusObject>) => void) => (error: unknown) => {
    log.error("answer failed", { path: method.path, error });
    try {
      send({ code: codes.INTERNAL, details: `${method.path}: the answer could not be sent` });
    } catch {
      // The call has no other way to its caller, who learns it from his deadline.
    }
  };

  if (!method.responseStream) {
    // biome-ignore lint/suspicious/noExplicitAny: unary and client-streaming calls differ only in where the request is
    return (call: any, callback: grpc.sendUnaryData<unknown>) => {
      const answer = async () => {
        const { context, id, markAnswered, trailer } = begin(call);
        await withCorrelation(id, async () =>
          handler(method.requestStream ? incoming(call) : call.request, context),
        ).then(
          (response) => {
            markAnswered();
            callback(null, response, trailer);
          },
          (error) => {
            markAnswered();
            withCorrelation(id, () => callback(fail(error)));
          },
        );
      };
      answer().catch(failWith((status) => callback(status)));
    };
  }
  // biome-ignore lint/suspicious/noExplicitAny: server-streaming and duplex calls differ only in where the request is
  return (call: any) => {
    const answer = async () => {
      const { context, id } = begin(call);
      await withCorrelation(id, async () => {
        try {
          for await (const response of handler(method.requestStream ? incoming(call) : call.request, context)) {
            if (context.signal.aborted) return;
            if (!call.write(response)) await awaitDrain(call, context.signal);
          }
          call.end();
        } catch (error) {
          if (!context.signal.aborted) call.emit("error", fail(error));
        }
      });
    };
    answer().catch(failWith((status) => call.emit("error", status)));
  };
}

/** The client's messages; leaving the loop must not tear down the half that we still write to. */
function incoming(call: Readable): AsyncIterable<unknown> {
  return call.iterator({ destroyOnReturn: false });
}

async function awaitDrain(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      call.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    call.once("drain", done);
    signal.addEventListener("abort", done);
  });
}

/** The status a client sees: our errors as they are, any other as INTERNAL with the correlation id alone. */
function statusOf(error: unknown, path: string, log: Log): Partial<grpc.StatusObject> {
  if (error instanceof AiosError) {
    log.debug("call refused", { path, code: error.code, reason: error.message });
    const status = { code: codes[error.code], details: detailsOf(error.message) };
    return error.retryAfterMs === undefined ? status : { ...status, metadata: retryAfter(error.retryAfterMs) };
  }
  log.error("call failed", { path, error });
  return {
    code: codes.INTERNAL,
    details: `${path}: internal error; look for correlation id ${correlationId()} in the machine's log`,
  };
}

/**
 * A status' text as it can be sent: of whole characters (grpc-js 1.14.7 encodes it by encodeURI, which throws at half of one),
 * and short enough for a header.
 */
export function detailsOf(text: string): string {
  const whole = text.toWellFormed();
  if (whole.length * longestEncodedBytes <= detailsMaxBytes) return whole;
  if (encodeURI(whole).length <= detailsMaxBytes) return whole;
  let [from, to] = [0, Math.min(whole.length, detailsMaxBytes)];
  while (from < to) {
    const middle = Math.ceil((from + to) / 2);
    if (encodeURI(beginning(whole, middle)).length < detailsMaxBytes - cutMarkBytes) from = middle;
    else to = middle - 1;
  }
  return `${beginning(whole, from)}…`;
}

/** The most that one UTF-16 unit takes when it is percent-encoded: three bytes of UTF-8. */
const longestEncodedBytes = 9;
const cutMarkBytes = encodeURI("…").length;

const retryAfter = (ms: number) => metadataOf({ [retryAfterHeader]: String(Math.ceil(ms)) });

export function metadataOf(headers: Headers): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
