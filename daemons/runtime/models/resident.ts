import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Lease, LoadedFacts, PooledWorker, WorkerSetup } from "../between/index.ts";
import type { ModelHeader, Need } from "../files/index.ts";
import type { CoreUser, Seat } from "../machine/index.ts";

/** How a model is going to be loaded. */
interface LoadPlan {
  readonly setup: WorkerSetup;
  readonly need: Need;
  /** Name of the GPU; empty on the processor. */
  readonly device: string;
  /** Threads it can use at most. */
  readonly threadsMax: number;
  readonly header: ModelHeader;
  /** Changes when the file or its entry does. */
  readonly fingerprint: string;
}

interface ResidentOptions<W> {
  readonly plan: LoadPlan;
  readonly worker: W;
  readonly seat: (user: CoreUser, threads: number) => Seat;
  /** Proves that the loaded model is of use. */
  readonly prove: (worker: W) => Promise<void>;
  readonly clock: Clock;
}

/** A model in memory: from the start of its loading until its worker has ended. */
export interface Resident<W> {
  readonly plan: LoadPlan;
  readonly worker: W;
  readonly status: "loading" | "ready" | "unloading" | "ended";
  /** Resolves when it is ready; rejects with UNAVAILABLE and the reason when it does not get there. */
  readonly ready: Promise<void>;
  /** Resolves when its worker has ended, with why. */
  readonly ended: Promise<string>;
  readonly facts: LoadedFacts | undefined;
  readonly loadedAt: number;
  readonly lastUsedAt: number;
  /** On the monotonic clock: since when nobody uses it. */
  readonly idleSince: number;
  readonly requests: number;
  readonly active: number;
  readonly seat: Seat;
  /** Threads that it was told to use last. */
  readonly threads: number;
  /** Waits for cores. The resident must be ready. */
  lease(signal: AbortSignal): Promise<Lease<W>>;
  /** Gives no more leases, waits for those that are held (not for ever), and ends the worker. */
  unload(): Promise<void>;
  /** Ends the worker at once. */
  stop(): void;
}

/** Loading takes at most this long, on a slow disk under emulation. */
const loadTimeoutMs = 600_000;

/** Calls get this long to finish when their model is unloaded. */
const drainMs = 30_000;

/** Starts loading. */
export function openResident<W extends PooledWorker>(options: ResidentOptions<W>): Resident<W> {
  const { plan, worker, clock } = options;
  const { model } = plan.setup;
  const seat = options.seat(worker, plan.setup.threads);
  const idle = Promise.withResolvers<void>();
  let status: Resident<W>["status"] = "loading";
  let facts: LoadedFacts | undefined;
  let [loadedAt, lastUsedAt, requests, active] = [0, 0, 0, 0];
  let idleSince = clock.monotonic();

  worker.ended.then(() => {
    status = "ended";
    seat.close();
  });

  const load = async () => {
    try {
      facts = await within(worker.load(plan.setup), clock);
      await options.prove(worker);
      loadedAt = clock.now();
      idleSince = clock.monotonic();
      if (status === "loading") status = "ready";
    } catch (error) {
      worker.stop();
      throw error instanceof AiosError ? error : notLoaded(model, error);
    }
  };
  const ready = load();
  ready.catch(() => {});

  const release = () => {
    active--;
    lastUsedAt = clock.now();
    idleSince = clock.monotonic();
    seat.leave();
    if (active === 0 && status === "unloading") idle.resolve();
  };

  return {
    plan,
    worker,
    ready,
    ended: worker.ended,
    seat,
    get status() {
      return status;
    },
    get facts() {
      return facts;
    },
    get loadedAt() {
      return loadedAt;
    },
    get lastUsedAt() {
      return lastUsedAt;
    },
    get idleSince() {
      return idleSince;
    },
    get requests() {
      return requests;
    },
    get active() {
      return active;
    },
    get threads() {
      return seat.threads;
    },
    async lease(signal) {
      active++;
      requests++;
      lastUsedAt = clock.now();
      try {
        await seat.enter(signal);
      } catch (error) {
        release();
        throw error;
      }
      let held = true;
      return {
        model,
        worker,
        sequences: plan.setup.sequences,
        release() {
          if (held) release();
          held = false;
        },
      };
    },
    async unload() {
      if (status === "ready" || status === "loading") status = "unloading";
      if (active > 0) await Promise.race([idle.promise, worker.ended, clock.sleep(drainMs)]);
      worker.stop();
      await worker.ended;
    },
    stop: () => worker.stop(),
  };
}

async function within<T>(loading: Promise<T>, clock: Clock): Promise<T> {
  const timer = new AbortController();
  const late = clock.sleep(loadTimeoutMs, timer.signal).then(() => {
    throw new Error(`its worker did not load it within ${loadTimeoutMs / 1000} s`);
  });
  try {
    return await Promise.race([loading, late]);
  } finally {
    late.catch(() => {});
    timer.abort();
  }
}

function notLoaded(model: string, error: unknown): AiosError {
  return new AiosError(
    "UNAVAILABLE",
    {
      act: "load model",
      object: model,
      reason: messageOf(error),
      next: "put a model that this runtime reads in its place; it is tried again when it changes",
    },
    { cause: error },
  );
}
