import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { MethodDefinition } from "@grpc/grpc-js";
import { AiosError, messageOf } from "#lib/errors";
import { correlationId } from "#lib/log";
import type { CallOptions, Client, ServiceDefinition } from "#lib/service";
import { contentType, correlationHeader, frame, frameReader, statusOf, timeoutHeader } from "./rpc-frames.ts";

/** As the library's clients: a unary call waits this long unless it says otherwise, a stream has no deadline of its own. */
const callTimeoutMs = 10_000;

/** Messages that wait for a slow reader before the peer is told to wait, too. */
const unreadMax = 64;

type Method = MethodDefinition<unknown, unknown>;

/**
 * A client of one service on a Unix socket, as `#lib/client` gives it, straight on HTTP/2. PID 1 asks six daemons while
 * the machine starts; grpc-js loads and sets up resolvers, balancers and retries for each, which under emulation takes a
 * second of the boot. Unary calls and server streams.
 */
export function connectLight<S extends ServiceDefinition>(definition: S, socketPath: string): Client<S> {
  const connection = openConnection(socketPath);
  const methods: Record<string, unknown> = { close: connection.close };
  for (const [name, method] of Object.entries(definition)) {
    methods[name] = method.responseStream ? streaming(connection, method) : unary(connection, method);
  }
  return methods as Client<S>;
}

interface Connection {
  readonly socketPath: string;
  /** A stream for one call; connects when there is no connection (any more). */
  request(headers: Record<string, string>): ClientHttp2Stream;
  close(): void;
}

function openConnection(socketPath: string): Connection {
  let session: ClientHttp2Session | undefined;
  return {
    socketPath,
    request(headers) {
      if (session === undefined || session.closed || session.destroyed) {
        session = connectHttp2("http://localhost", { createConnection: () => connectSocket(socketPath) });
        // Each call in flight hears of it, too.
        session.on("error", () => {});
      }
      return session.request(headers);
    },
    close: () => session?.destroy(),
  };
}

function unary(connection: Connection, method: Method) {
  return async (request: unknown, options: CallOptions = {}) => {
    let answer: Buffer | undefined;
    const timeoutMs = options.timeoutMs ?? callTimeoutMs;
    const call = begin(connection, method, request, { ...options, timeoutMs }, (message) => {
      answer = message;
    });
    await call.ended;
    if (answer === undefined) throw new AiosError("INTERNAL", `call ${method.path}: the answer is empty`);
    return method.responseDeserialize(answer);
  };
}

function streaming(connection: Connection, method: Method) {
  return async function* (request: unknown, options: CallOptions = {}) {
    const unread: Buffer[] = [];
    let wake = () => {};
    const call = begin(connection, method, request, options, (message) => {
      unread.push(message);
      if (unread.length >= unreadMax) call.stream.pause();
      wake();
    });
    let over = false;
    const ended = call.ended.finally(() => {
      over = true;
      wake();
    });
    // Heard below, when the messages before it have been read.
    ended.catch(() => {});
    try {
      for (;;) {
        for (let message = unread.shift(); message !== undefined; message = unread.shift()) {
          yield method.responseDeserialize(message);
        }
        if (over) break;
        call.stream.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      await ended;
    } finally {
      call.cancel();
    }
  };
}

interface RunningCall {
  readonly stream: ClientHttp2Stream;
  /** Resolves with status OK, rejects with any other as an AiosError. */
  readonly ended: Promise<void>;
  cancel(): void;
}

function begin(
  connection: Connection,
  method: Method,
  request: unknown,
  { timeoutMs, signal }: CallOptions,
  onMessage: (message: Buffer) => void,
): RunningCall {
  const stream = connection.request(headersOf(method.path, timeoutMs));
  const cancel = () => stream.close(constants.NGHTTP2_CANCEL);
  const ended = new Promise<void>((resolve, reject) => {
    const settle = (error?: AiosError) => {
      clearTimeout(deadline);
      signal?.removeEventListener("abort", aborted);
      if (error === undefined) return resolve();
      reject(error);
      cancel();
    };
    const late = () => settle(new AiosError("DEADLINE_EXCEEDED", `call ${method.path}: no answer in ${timeoutMs} ms`));
    const deadline = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    const aborted = () => settle(new AiosError("CANCELLED", `call ${method.path}: cancelled`));
    signal?.addEventListener("abort", aborted, { once: true });
    if (signal?.aborted) aborted();
    listen(stream, method.path, connection.socketPath, onMessage, settle);
  });
  stream.end(frame(method.requestSerialize(request)));
  return { stream, ended, cancel };
}

/** Hears the answer to its end. `settle` is called with what ended it; only the first call counts. */
function listen(
  stream: ClientHttp2Stream,
  path: string,
  socketPath: string,
  onMessage: (message: Buffer) => void,
  settle: (error?: AiosError) => void,
): void {
  const read = frameReader();
  let status: ReturnType<typeof statusOf>;
  let cause: unknown;
  stream.on("response", (headers) => {
    status = statusOf(headers);
  });
  stream.on("trailers", (trailers) => {
    status ??= statusOf(trailers);
  });
  stream.on("data", (chunk: Buffer) => {
    try {
      for (const message of read(chunk)) onMessage(message);
    } catch (error) {
      settle(error instanceof AiosError ? error : new AiosError("INTERNAL", messageOf(error)));
    }
  });
  stream.on("error", (error) => {
    cause = (error as { cause?: unknown }).cause ?? error;
  });
  stream.on("close", () => {
    if (status?.code === "OK") settle();
    else if (status !== undefined) settle(new AiosError(status.code, status.message));
    else settle(unreached(path, socketPath, cause));
  });
}

function unreached(path: string, socketPath: string, cause: unknown): AiosError {
  const why = cause === undefined ? "the connection ended" : messageOf(cause);
  return new AiosError("UNAVAILABLE", `call ${path}: nothing answers at ${socketPath} (${why})`, { cause });
}

function headersOf(path: string, timeoutMs: number | undefined): Record<string, string> {
  const id = correlationId();
  return {
    ":method": "POST",
    ":path": path,
    "content-type": contentType,
    te: "trailers",
    ...(timeoutMs !== undefined && { "grpc-timeout": timeoutHeader(timeoutMs) }),
    ...(id !== undefined && { [correlationHeader]: id }),
  };
}
