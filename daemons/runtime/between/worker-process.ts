/**
 * The worker has the runtime's account: to start it as another, kill and limit it, the runtime would need capabilities
 * that make it root. What an account of its own would refuse, Landlock and the filter of system calls refuse: the
 * runtime's files, sockets, memory, limits and signals.
 */
import type { ChildProcess } from "node:child_process";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Chat, Counted, Embedded, Generated, Generation, Reply, Request } from "./messages.ts";
import type { LoadedFacts, PooledWorker, WorkerSetup } from "./pool.ts";

/** Starts the worker program with an IPC channel; it can read one model. */
export type SpawnWorker = (modelPath: string) => ChildProcess;

/**
 * Gets an answer's text as it comes. A promise says that there is no room for more: the answer waits until it resolves.
 */
export type Write = (text: string) => Promise<void> | undefined;

/** A worker process: one model, as many generations at a time as it has sequences. */
export interface Worker extends PooledWorker {
  /** The kind that it was told to load: a model that generates until then. */
  readonly kind: WorkerSetup["kind"];
  /**
   * Generates. INVALID_ARGUMENT when the worker refuses the prompt, UNAVAILABLE at once when the process ends. An aborted
   * `signal` stops it within a token; it then resolves with stop "abort".
   */
  generate(generation: Generation, write: Write, signal: AbortSignal): Promise<Generated>;
  /** Vectors of texts, of which the first is the caller's `from`th. INVALID_ARGUMENT when one is too long. */
  embed(texts: readonly string[], from: number, truncate: boolean): Promise<Embedded>;
  count(chat: Chat): Promise<Counted>;
}

interface PendingRequest {
  readonly write: Write;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  paused: boolean;
}

type Asked =
  | Omit<Extract<Request, { type: "generate" }>, "id">
  | Omit<Extract<Request, { type: "embed" }>, "id">
  | Omit<Extract<Request, { type: "count" }>, "id">
  | Omit<Extract<Request, { type: "threads" | "measure" }>, "id">;

/** A worker that does not stop generating in this time hangs in native code: it is ended, and its model loaded again. */
const abortTimeoutMs = 60_000;

/** Starts a worker process for the model `name`; it loads nothing before it is told to. */
export function startWorker(spawn: () => ChildProcess, name: string, clock: Clock, log: Log): Worker {
  const child = spawn();
  const waiting = new Map<number, PendingRequest>();
  const loaded = Promise.withResolvers<LoadedFacts>();
  const ended = Promise.withResolvers<string>();
  let nextId = 1;
  let kind: WorkerSetup["kind"] = "generation";
  let over: string | undefined;
  loaded.promise.catch(() => {});

  const end = (reason: string) => {
    if (over !== undefined) return;
    over = reason;
    loaded.reject(new Error(reason));
    for (const { reject } of waiting.values()) reject(unavailable(name, reason));
    waiting.clear();
    ended.resolve(reason);
  };
  const send = (request: Request) => {
    // An error here means that the process is ending, which its "exit" event tells.
    if (child.connected) child.send(request, () => {});
  };
  const hear = (id: number, text: string) => {
    const call = waiting.get(id);
    const full = call?.write(text);
    if (call === undefined || full === undefined || call.paused) return;
    call.paused = true;
    send({ type: "pause", id });
    full.then(() => {
      call.paused = false;
      send({ type: "resume", id });
    });
  };
  const ask = <T>(asked: Asked, write: Write = () => undefined): { id: number; value: Promise<T> } => {
    const id = nextId++;
    const value = new Promise<T>((resolve, reject) => {
      if (over !== undefined) return reject(unavailable(name, over));
      waiting.set(id, { write, resolve: resolve as (value: unknown) => void, reject, paused: false });
      send({ ...asked, id } as Request);
    });
    return { id, value };
  };

  child.once("error", (error) => end(`its process does not start: ${error.message}`));
  child.once("exit", (code, signal) => end(`its process ended (${signal ?? `exit code ${code}`})`));
  child.on("message", (reply: Reply) => {
    if (reply.type === "loaded") return loaded.resolve(reply.loaded);
    if (reply.type === "log") return log.warn("llama.cpp", { model: name, message: reply.message });
    if (reply.type === "failed") return loaded.reject(new Error(reply.reason));
    if (reply.type === "text") return hear(reply.id, reply.text);
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (reply.type === "done") call?.resolve(reply.value);
    else call?.reject(new AiosError(reply.code, `ask model ${name}: ${reply.reason}`));
  });

  const stop = () => void child.kill("SIGKILL");
  const watch = async (value: Promise<unknown>) => {
    const done = new AbortController();
    value.then(
      () => done.abort(),
      () => done.abort(),
    );
    await clock.sleep(abortTimeoutMs, done.signal).then(stop, () => {});
  };

  return {
    pid: child.pid ?? 0,
    ended: ended.promise,
    get kind() {
      return kind;
    },
    load(setup) {
      kind = setup.kind;
      send({ type: "load", setup });
      return loaded.promise;
    },
    setThreads: (threads) => ask<void>({ type: "threads", threads }).value,
    measure: (threads) => ask<number>({ type: "measure", threads }).value,
    embed: (texts, from, truncate) => ask<Embedded>({ type: "embed", texts, from, truncate }).value,
    count: (chat) => ask<Counted>({ type: "count", chat }).value,
    async generate(generation, write, signal) {
      const { id, value } = ask<Generated>({ type: "generate", generation }, write);
      const abort = () => {
        send({ type: "abort", id });
        watch(value);
      };
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
      try {
        return await value;
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    stop,
  };
}

function unavailable(name: string, reason: string): AiosError {
  return new AiosError("UNAVAILABLE", {
    act: "ask model",
    object: name,
    reason,
    next: "it is being started again; ask again in a few seconds",
  });
}
