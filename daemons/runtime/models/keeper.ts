import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Resident } from "./resident.ts";

interface KeeperOptions<W> {
  readonly model: string;
  /** Loads the model; resolves when it is ready. */
  readonly load: () => Promise<Resident<W>>;
  /** Changes when the model's file or entry does: a reason to try again at once. */
  readonly fingerprint: () => string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps a model loaded: loads it again when its worker ends, tries again when its file is missing or bad. */
interface Keeper<W> {
  /** Resolves when it is ready for the first time. */
  readonly ready: Promise<void>;
  /** Why it is not loaded and not being loaded either, or undefined. */
  problem(): string | undefined;
  /** Resolves when it is loaded; rejects with UNAVAILABLE and the reason when it is not going to be at once. */
  loaded(signal: AbortSignal): Promise<Resident<W>>;
  stop(): void;
}

/** Pause after a failure; doubles with each further one. A change of the file ends it. */
const pauseMinMs = 100;
const pauseMaxMs = 30_000;

/** A model that was ready this long has proved itself: the next failure starts with the shortest pause. */
const steadyMs = 60_000;

/** In pauses from this on callers are told at once what is wrong. */
const restingMs = 1_000;

/** How often a changed file is looked for. */
const lookMs = 1_000;

export function keepLoaded<W>(options: KeeperOptions<W>): Keeper<W> {
  const { model, clock, log } = options;
  const ending = new AbortController();
  const ready = Promise.withResolvers<void>();
  let problem: string | undefined;
  let attempt = Promise.withResolvers<Resident<W>>();
  let resting = false;

  const once = async (): Promise<never> => {
    const resident = await options.load();
    problem = undefined;
    attempt.resolve(resident);
    ready.resolve();
    throw new AiosError("UNAVAILABLE", `run model ${model}: ${await resident.ended}; it is being started again`);
  };

  const keep = async () => {
    let pauseMs = pauseMinMs;
    while (!ending.signal.aborted) {
      const seen = options.fingerprint();
      const startedAt = clock.monotonic();
      attempt.promise.catch(() => {});
      const message = messageOf(await once().catch((error: unknown) => error));
      if (ending.signal.aborted) return;
      if (message !== problem) log.error("model not ready", { model, reason: message });
      problem = message;
      attempt.reject(new AiosError("UNAVAILABLE", message));
      attempt = Promise.withResolvers();
      if (clock.monotonic() - startedAt > steadyMs) pauseMs = pauseMinMs;
      // In a short pause callers wait for the next try instead of being sent away.
      resting = pauseMs >= restingMs;
      await pause(pauseMs, seen);
      resting = false;
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  };

  const pause = async (ms: number, seen: string) => {
    for (let left = ms; left > 0; left -= lookMs) {
      await clock.sleep(Math.min(left, lookMs), ending.signal);
      if (options.fingerprint() !== seen) return;
    }
  };

  keep().catch((error) => {
    if (!ending.signal.aborted) throw error;
  });

  return {
    ready: ready.promise,
    problem: () => problem,
    async loaded(signal) {
      if (resting && problem !== undefined) throw new AiosError("UNAVAILABLE", problem);
      return abortable(attempt.promise, signal);
    },
    stop() {
      ending.abort(new Error("the runtime is ending"));
      attempt.promise.catch(() => {});
      attempt.reject(
        new AiosError("UNAVAILABLE", `ask model ${model}: the runtime is ending; ask again in a few seconds`),
      );
    },
  };
}

/** `promise`, or the signal's reason when it is aborted first. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const over = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true, signal: over.signal });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    over.abort();
  }
}
