import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { readModelHeader } from "./gguf.ts";
import type { Generated, Generation, Loaded } from "./messages.ts";
import { findModel, fingerprints, modelName } from "./models.ts";
import { createQueue } from "./queue.ts";
import { selfTest } from "./self-test.ts";
import { type SpawnWorker, startWorker, type Worker } from "./worker-process.ts";

export interface SlotOptions {
  /** The model's file name, looked for in `folders` in order. */
  readonly file: string;
  readonly folders: readonly string[];
  readonly bindingFolder: string;
  readonly spawn: SpawnWorker;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SlotStatus {
  readonly name: string;
  /** "loading", "ready" or "error: …" with the next step. */
  readonly status: string;
  /** Present while the model is loaded. */
  readonly loaded?: Loaded;
  /** Milliseconds since the epoch; 0 = not yet. */
  readonly loadedAt: number;
  readonly lastUsedAt: number;
  readonly requests: number;
  readonly waiting: number;
  /** Process of the worker, 0 when there is none. */
  readonly pid: number;
}

/** A model that is kept loaded: loaded again when its worker ends, tried again when its file is missing or bad. */
export interface Slot {
  readonly name: string;
  /** Resolves when the model has answered its test prompt for the first time. */
  readonly ready: Promise<void>;
  status(): SlotStatus;
  /** Generates, in turn. UNAVAILABLE with the reason while the model is not ready; else as {@link Worker.generate}. */
  generate(generation: Generation, write: (text: string) => void, signal: AbortSignal): Promise<Generated>;
  stop(): void;
}

/** Tokens of context at most, whatever the model was trained for: its memory grows with it. */
const contextTokensMax = 4096;

/** Pause after a failure; doubles with each further one. A change of the file ends it. */
const pauseMinMs = 100;
const pauseMaxMs = 30_000;

/** A model that was ready this long has proved itself: the next failure starts with the shortest pause. */
const steadyMs = 60_000;

/** How often a changed file is looked for. */
const lookMs = 1_000;

/** Loading takes at most this long, on a slow disk under emulation. */
const loadTimeoutMs = 600_000;

export function keepLoaded(options: SlotOptions): Slot {
  const { clock, log } = options;
  const name = modelName(options.file);
  const queue = createQueue(name);
  const ending = new AbortController();
  const ready = Promise.withResolvers<void>();
  let problem: string | undefined;
  let current: { worker: Worker; loaded: Loaded; at: number } | undefined;
  let starting: Worker | undefined;
  let lastUsedAt = 0;
  let requests = 0;

  const once = async () => {
    starting = start(options, name);
    const loaded = await within(starting, clock).catch((error) => {
      throw new AiosError("UNAVAILABLE", {
        act: "load model",
        object: name,
        reason: messageOf(error),
        next: "put a model that this runtime reads in its place; it is tried again when it changes",
      });
    });
    await selfTest(starting, name);
    current = { worker: starting, loaded, at: clock.now() };
    problem = undefined;
    log.info("model ready", { model: name, ...loaded });
    ready.resolve();
    throw new AiosError("UNAVAILABLE", `run model ${name}: ${await starting.ended}; it is being started again`);
  };

  const keep = async () => {
    let pauseMs = pauseMinMs;
    while (!ending.signal.aborted) {
      const seen = fingerprints(options.file, options.folders);
      const startedAt = clock.monotonic();
      const message = messageOf(await once().catch((error: unknown) => error));
      starting?.stop();
      starting = undefined;
      current = undefined;
      if (ending.signal.aborted) return;
      if (message !== problem) log.error("model not ready", { model: name, reason: message });
      problem = message;
      if (clock.monotonic() - startedAt > steadyMs) pauseMs = pauseMinMs;
      await pause(pauseMs, seen);
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  };

  const pause = async (ms: number, seen: string) => {
    for (let left = ms; left > 0; left -= lookMs) {
      await clock.sleep(Math.min(left, lookMs), ending.signal);
      if (fingerprints(options.file, options.folders) !== seen) return;
    }
  };

  keep().catch((error) => {
    if (!ending.signal.aborted) throw error;
  });

  return {
    name,
    ready: ready.promise,
    status: () => ({
      name,
      status: current ? "ready" : problem === undefined ? "loading" : `error: ${problem}`,
      ...(current && { loaded: current.loaded }),
      loadedAt: current?.at ?? 0,
      lastUsedAt,
      requests,
      waiting: queue.length,
      pid: starting?.pid ?? 0,
    }),
    generate: (generation, write, signal) =>
      queue.run(async () => {
        if (current === undefined) throw notReady(name, problem);
        lastUsedAt = clock.now();
        requests++;
        return await current.worker.generate(generation, write, signal);
      }, signal),
    stop() {
      ending.abort(new Error("the runtime is ending"));
      starting?.stop();
    },
  };
}

function start({ file, folders, bindingFolder, spawn, log }: SlotOptions, name: string): Worker {
  const modelPath = findModel(file, folders);
  const { chatTemplate } = readModelHeader(modelPath);
  return startWorker(spawn, name, { modelPath, bindingFolder, chatTemplate, contextTokensMax }, log);
}

async function within(worker: Worker, clock: Clock): Promise<Loaded> {
  const timer = new AbortController();
  const late = clock.sleep(loadTimeoutMs, timer.signal).then(() => {
    throw new Error(`its worker did not load it within ${loadTimeoutMs / 1000} s`);
  });
  try {
    return await Promise.race([worker.loaded, late]);
  } finally {
    late.catch(() => {});
    timer.abort();
  }
}

function notReady(name: string, problem: string | undefined): AiosError {
  if (problem !== undefined) return new AiosError("UNAVAILABLE", problem);
  return new AiosError("UNAVAILABLE", {
    act: "ask model",
    object: name,
    reason: "it is still being loaded",
    next: "ask again in a few seconds",
  });
}
