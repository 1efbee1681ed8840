import type { ChildProcess } from "node:child_process";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Generated, Generation, Loaded, Reply, Request, WorkerSetup } from "./messages.ts";

/** Starts the worker program with an IPC channel. */
export type SpawnWorker = (setup: WorkerSetup) => ChildProcess;

/** A worker process: one model, one generation at a time. */
export interface Worker {
  readonly pid: number;
  /** Rejects when the model cannot be loaded or the process ends first. */
  readonly loaded: Promise<Loaded>;
  /** Resolves when the process has ended, with why. */
  readonly ended: Promise<string>;
  /**
   * Generates; `write` gets the text as it comes. INVALID_ARGUMENT when the worker refuses the prompt, UNAVAILABLE at once
   * when the process ends. An aborted `signal` stops it within a token; it then resolves with stop "abort".
   */
  generate(generation: Generation, write: (text: string) => void, signal: AbortSignal): Promise<Generated>;
  stop(): void;
}

interface Waiting {
  readonly write: (text: string) => void;
  readonly resolve: (generated: Generated) => void;
  readonly reject: (error: Error) => void;
}

export function startWorker(spawn: SpawnWorker, name: string, setup: WorkerSetup, log: Log): Worker {
  const child = spawn(setup);
  const waiting = new Map<number, Waiting>();
  const loaded = Promise.withResolvers<Loaded>();
  const ended = Promise.withResolvers<string>();
  let nextId = 1;
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
    if (child.connected) child.send(request);
  };

  child.once("error", (error) => end(`its process does not start: ${error.message}`));
  child.once("exit", (code, signal) => end(`its process ended (${signal ?? `exit code ${code}`})`));
  child.on("message", (reply: Reply) => {
    if (reply.type === "loaded") return loaded.resolve(reply.loaded);
    if (reply.type === "log") return log.warn("llama.cpp", { model: name, message: reply.message });
    if (reply.type === "failed") return loaded.reject(new Error(reply.reason));
    const call = waiting.get(reply.id);
    if (reply.type === "text") return call?.write(reply.text);
    waiting.delete(reply.id);
    if (reply.type === "generated") call?.resolve(reply.generated);
    else call?.reject(new AiosError("INVALID_ARGUMENT", `ask model ${name}: ${reply.reason}`));
  });

  return {
    pid: child.pid ?? 0,
    loaded: loaded.promise,
    ended: ended.promise,
    async generate(generation, write, signal) {
      if (over !== undefined) throw unavailable(name, over);
      const id = nextId++;
      const abort = () => send({ type: "abort", id });
      signal.addEventListener("abort", abort, { once: true });
      try {
        return await new Promise<Generated>((resolve, reject) => {
          waiting.set(id, { write, resolve, reject });
          send({ type: "generate", id, generation });
          if (signal.aborted) abort();
        });
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    stop: () => void child.kill("SIGKILL"),
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
