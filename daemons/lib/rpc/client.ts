/**
 * A restart of a peer is waited out, not handed on, where the caller wants it (`outlivesRestart`): goals live in
 * aios-memory, and the orchestrator asks it for each of them. A call that found no connection, so that nothing of it
 * was sent, waits up to three seconds for one: the two in which a killed daemon is back, and the longest pause between
 * two attempts of a channel. A call that was sent and got no answer is never made again there; who made it knows
 * whether it may be. Other peers fail at once: who asks them has another way, or tries again by itself.
 */
import grpc from "@grpc/grpc-js";
import { timerMaxMs } from "../clock.ts";
import { AiosError, type Code, codes } from "../errors.ts";
import { correlationId } from "../log.ts";
import { correlationHeader, messageSizeMaxBytes, metadataOf, retryAfterHeader } from "./server.ts";
import { type CallOptions, type Client, headerOf, type ServiceDefinition } from "./service.ts";

/** How long a unary call waits unless it says otherwise. Streams have no deadline of their own. */
const callTimeoutMs = 10_000;

/** Reconnecting is quick: the peer is on the same machine and back within seconds. */
export const channelOptions = {
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.min_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": messageSizeMaxBytes,
  "grpc.service_config_disable_resolution": 1,
} as const;

/**
 * For a peer on the machine whose restart its callers should not notice: it is back within two seconds after it was
 * killed, and looked for once more within the longest pause of a channel.
 */
export const outlivesRestart = { connectWithinMs: 2_000 + channelOptions["grpc.max_reconnect_backoff_ms"] } as const;

export interface ConnectOptions extends grpc.ClientOptions {
  /** How long a unary call that nothing was sent of waits for the peer, within its own time-out. Default: not at all. */
  readonly connectWithinMs?: number;
}

/**
 * A client of one service. `target` is `unix:/path` or `host:port`.
 * Calls reject with an AiosError that carries the peer's code and message.
 */
export function connect<S extends ServiceDefinition>(
  definition: S,
  target: string,
  credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure(),
  { connectWithinMs = 0, ...options }: ConnectOptions = {},
): Client<S> {
  const raw = new grpc.Client(target, credentials, { ...channelOptions, ...options });
  const methods: Record<string, unknown> = { close: () => raw.close() };
  for (const [name, method] of Object.entries(definition)) {
    methods[name] = bind(raw, method, target, connectWithinMs);
  }
  return methods as Client<S>;
}

function bind(
  raw: grpc.Client,
  method: grpc.MethodDefinition<unknown, unknown>,
  target: string,
  connectWithinMs: number,
): unknown {
  const { path, requestSerialize: out, responseDeserialize: back } = method;
  if (!method.responseStream) {
    const make = (request: unknown, options: CallOptions, timeoutMs: number) =>
      new Promise((resolve, reject) => {
        const done = (error: grpc.ServiceError | null, response: unknown) => {
          release();
          if (error) reject(error);
          else resolve(response);
        };
        const call = method.requestStream
          ? raw.makeClientStreamRequest(path, out, back, metadata(options.headers), deadline(timeoutMs), done)
          : raw.makeUnaryRequest(path, out, back, request, metadata(options.headers), deadline(timeoutMs), done);
        const { onTold } = options;
        if (onTold !== undefined) {
          call.once("metadata", (told) => onTold((name) => headerOf(told, name)));
          call.once("status", ({ metadata: told }) => onTold((name) => headerOf(told, name)));
        }
        const release = cancelWith(call, options.signal);
        if (method.requestStream) {
          pump(request as AsyncIterable<unknown>, call as grpc.ClientWritableStream<unknown>);
        }
      });
    return async (request: unknown, options: CallOptions = {}) => {
      const timeoutMs = checkTime(options.timeoutMs, path) ?? callTimeoutMs;
      const end = performance.now() + timeoutMs;
      try {
        return await make(request, options, timeoutMs).catch(async (error) => {
          const waits = connectWithinMs > 0 && !method.requestStream && isUnreached(error);
          if (!waits || !(await reach(raw, Math.min(connectWithinMs, end - performance.now()), options.signal)))
            throw error;
          return make(request, options, end - performance.now());
        });
      } catch (error) {
        throw toAiosError(error as grpc.ServiceError, path, target);
      }
    };
  }
  return async function* (request: unknown, options: CallOptions = {}) {
    const settings = deadline(checkTime(options.timeoutMs, path));
    const call = method.requestStream
      ? raw.makeBidiStreamRequest(path, out, back, metadata(options.headers), settings)
      : raw.makeServerStreamRequest(path, out, back, request, metadata(options.headers), settings);
    const release = cancelWith(call, options.signal);
    if (method.requestStream) {
      pump(request as AsyncIterable<unknown>, call as grpc.ClientDuplexStream<unknown, unknown>);
    }
    try {
      yield* call;
    } catch (error) {
      throw toAiosError(error as grpc.ServiceError, path, target);
    } finally {
      release();
      call.cancel();
    }
  };
}

async function pump(requests: AsyncIterable<unknown>, call: grpc.ClientWritableStream<unknown>): Promise<void> {
  try {
    for await (const request of requests) {
      if (!call.write(request)) await new Promise((resolve) => call.once("drain", resolve));
    }
    call.end();
  } catch {
    call.cancel();
  }
}

function metadata(given: CallOptions["headers"] = {}): grpc.Metadata {
  const id = correlationId();
  return metadataOf(id === undefined ? given : { ...given, [correlationHeader]: id });
}

function checkTime(timeoutMs: number | undefined, path: string): number | undefined {
  if (Number.isNaN(timeoutMs)) throw new AiosError("INVALID_ARGUMENT", `call ${path}: NaN is no time to wait`);
  return timeoutMs;
}

/** Servers of grpc-js read a longer one modulo 2^32 ms, and may answer at once that it has passed: it is left off. */
function deadline(timeoutMs: number | undefined): grpc.CallOptions {
  return timeoutMs === undefined || timeoutMs > timerMaxMs ? {} : { deadline: Date.now() + timeoutMs };
}

/** Cancels a call with a signal, until it is released: a signal may outlive thousands of calls. */
function cancelWith(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  const cancel = () => call.cancel();
  if (signal?.aborted) cancel();
  else signal?.addEventListener("abort", cancel, { once: true });
  return () => signal?.removeEventListener("abort", cancel);
}

/** Waits for a connection; true when there is one, or when a call would only learn that it is cancelled. */
function reach(raw: grpc.Client, withinMs: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(true);
    const cancelled = () => resolve(true);
    signal?.addEventListener("abort", cancelled, { once: true });
    raw.waitForReady(Date.now() + withinMs, (error) => {
      signal?.removeEventListener("abort", cancelled);
      resolve(error === undefined);
    });
  });
}

const names = new Map<number, Code>(Object.entries(codes).map(([name, number]) => [number, name as Code]));

function toAiosError(error: grpc.ServiceError, path: string, target: string): AiosError {
  const code = names.get(error.code) ?? "INTERNAL";
  const message = isUnreached(error)
    ? `call ${path}: nothing answers at ${target}; see "aiosctl boot" or the machine's console`
    : error.details || error.message;
  const retryAfterMs = Number(error.metadata?.get(retryAfterHeader)[0]);
  return new AiosError(code, message, { cause: error, ...(retryAfterMs >= 0 && { retryAfterMs }) });
}

/** Whether nothing was sent, for want of a connection: of this client's own, not of one that the peer tells of. */
function isUnreached(error: grpc.ServiceError): boolean {
  const unconnected = /^(No connection established|(Error: )?connect E[A-Z]+)/;
  return error.code === codes.UNAVAILABLE && unconnected.test(error.details ?? "");
}
