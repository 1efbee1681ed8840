import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { readModelHeader } from "./gguf.ts";
import { findModel, fingerprints, modelName } from "./models.ts";
import type { LoadedFacts, ModelPool, WorkerSetup } from "./pool.ts";
import { selfTest } from "./self-test.ts";
import { type SpawnWorker, startWorker, type Worker } from "./worker-process.ts";

export interface SlotOptions {
  /** The model's file name, looked for in `folders` in order. */
  readonly file: string;
  readonly folders: readonly string[];
  readonly bindingFolder: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly spawn: SpawnWorker;
  readonly clock: Clock;
  readonly log: Log;
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

export function keepLoaded(options: SlotOptions): ModelPool<Worker> {
  const { clock, log } = options;
  const name = modelName(options.file);
  const ending = new AbortController();
  const ready = Promise.withResolvers<void>();
  let problem: string | undefined;
  let current: { worker: Worker; setup: WorkerSetup; loaded: LoadedFacts; at: number } | undefined;
  let active = 0;
  let starting: Worker | undefined;
  let lastUsedAt = 0;
  let requests = 0;

  const once = async () => {
    const setup = setupOf(options, name);
    starting = startWorker(options.spawn, name, clock, log);
    const loaded = await within(starting, setup, clock).catch((error) => {
      throw new AiosError("UNAVAILABLE", {
        act: "load model",
        object: name,
        reason: messageOf(error),
        next: "put a model that this runtime reads in its place; it is tried again when it changes",
      });
    });
    await selfTest(starting, name);
    current = { worker: starting, setup, loaded, at: clock.now() };
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
    ready: ready.promise,
    route: ({ model, level }) => {
      if (model !== "" && model !== "auto" && model.replace(/\.gguf$/i, "") !== name) {
        throw new AiosError("NOT_FOUND", {
          act: "ask model",
          object: model,
          reason: "no model of this name is loaded",
          next: `ask "auto" or ${name}`,
        });
      }
      if (level === "tactical") {
        throw new AiosError("FAILED_PRECONDITION", {
          act: "ask level",
          object: level,
          reason: "this runtime loads the operational model only",
          next: 'ask "operational"',
        });
      }
      if (level !== "" && level !== "operational") {
        throw new AiosError("INVALID_ARGUMENT", {
          act: "ask level",
          object: level,
          reason: "no local model answers at this level",
          next: 'ask "operational"; strategic questions go to the gateway',
        });
      }
      return { model: name, maxTokens: options.maxTokens, temperature: options.temperature };
    },
    embedder: () => name,
    async acquire(model) {
      if (current === undefined) throw notReady(model, problem);
      lastUsedAt = clock.now();
      requests++;
      active++;
      let held = true;
      const release = () => {
        if (held) active--;
        held = false;
      };
      return { model, worker: current.worker, release };
    },
    models: () => [
      {
        name,
        file: options.file,
        role: "operational",
        status: current ? "ready" : problem === undefined ? "loading" : `error: ${problem}`,
        sizeBytes: 0,
        loadedAt: current?.at ?? 0,
        lastUsedAt,
        requests,
        active,
        pid: starting?.pid ?? 0,
        memoryBytes: 0,
        ...(current && { loaded: current.loaded, setup: current.setup }),
      },
    ],
    stop() {
      ending.abort(new Error("the runtime is ending"));
      starting?.stop();
    },
  };
}

function setupOf({ file, folders, bindingFolder }: SlotOptions, name: string): WorkerSetup {
  const modelPath = findModel(file, folders);
  const { chatTemplate, parameters, contextTokens } = readModelHeader(modelPath);
  return {
    model: name,
    modelPath,
    kind: "generation",
    bindingFolder,
    backend: "cpu",
    gpuLayers: 0,
    chatTemplate,
    contextTokens: Math.min(contextTokens || contextTokensMax, contextTokensMax),
    sequences: 4,
    batchTokens: 512,
    threads: parameters < 50_000_000 ? 1 : 2,
  };
}

async function within(worker: Worker, setup: WorkerSetup, clock: Clock): Promise<LoadedFacts> {
  const timer = new AbortController();
  const late = clock.sleep(loadTimeoutMs, timer.signal).then(() => {
    throw new Error(`its worker did not load it within ${loadTimeoutMs / 1000} s`);
  });
  try {
    return await Promise.race([worker.load(setup), late]);
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
