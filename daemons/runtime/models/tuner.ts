/**
 * How many threads suit a model is measured once, when no model is in use, never during the boot; below 14 M parameters
 * it is one.
 */
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { PooledWorker } from "../between/index.ts";
import type { Resident } from "./resident.ts";
import type { Threads } from "./threads.ts";

interface TunerOptions {
  readonly threads: Threads;
  /** Calls in progress on this machine's models, and how many there were in all: it must not change while measuring. */
  readonly activity: () => { active: number; begun: number };
  readonly clock: Clock;
  readonly log: Log;
}

/** Nobody asked a model for this long: a measurement disturbs no one, and nobody it. */
const quietMs = 2_000;

/** Measurements that a call came into. After this many the next load tries again. */
const spoiltMax = 20;

/** Once it is this much slower than the best, more threads only make it worse. */
const hopeless = 1.5;

/**
 * Measures with how many threads a loaded model is fastest, if that is not known, once the machine's models are idle.
 * Ends early when the worker does.
 */
export async function tune<W extends PooledWorker>(resident: Resident<W>, options: TunerOptions): Promise<void> {
  const { threads, clock, log } = options;
  const { header, setup } = resident.plan;
  const over = new AbortController();
  resident.ended.then(() => over.abort());
  const measured = new Map<number, number>();
  let best = resident.plan.threadsMax;
  let spoilt = 0;
  try {
    for (const choice of threads.toMeasure(header)) {
      for (let done = false; !done && spoilt < spoiltMax; spoilt += done ? 0 : 1) {
        await quiet(options, over.signal);
        const before = options.activity().begun;
        const ms = await measureOnce(resident, choice, over.signal);
        done = options.activity().begun === before;
        if (done) measured.set(choice, ms);
      }
      if (spoilt >= spoiltMax) return;
      if ((measured.get(choice) ?? 0) > Math.min(...measured.values()) * hopeless) break;
    }
    if (measured.size === 0) return;
    best = threads.learn(header, measured);
    log.info("threads measured", { model: setup.model, threads: best, msPerToken: Object.fromEntries(measured) });
  } catch (error) {
    if (!over.signal.aborted) log.warn("threads not measured", { model: setup.model, reason: messageOf(error) });
  } finally {
    resident.seat.wish(best);
  }

  async function quiet({ activity }: TunerOptions, signal: AbortSignal): Promise<void> {
    for (let seen = -1; ; ) {
      const { active, begun } = activity();
      if (active === 0 && begun === seen) return;
      seen = begun;
      await clock.sleep(quietMs, signal);
    }
  }
}

/** Milliseconds per token. The worker holds cores meanwhile, so that another model's call gets its share and no more. */
async function measureOnce<W extends PooledWorker>(
  { seat, worker }: Resident<W>,
  threads: number,
  signal: AbortSignal,
): Promise<number> {
  seat.wish(threads);
  await seat.enter(signal).catch((error) => {
    seat.leave();
    throw error;
  });
  try {
    return await worker.measure(threads);
  } finally {
    seat.leave();
  }
}
