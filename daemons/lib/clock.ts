/** Time, passed in so that tests need not wait. */
export interface Clock {
  /** Milliseconds since the epoch: for messages and records. Jumps when the time is set. */
  now(): number;
  /** Milliseconds since some fixed moment: for durations, back-off and timelines. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A time, milliseconds since the epoch; where it is not known, the two between which it lies. */
export type Moment = number | { readonly earliestMs: number; readonly latestMs: number };

/** Longer than this a timer of Node's cannot wait: it would fire at once, as with NaN. Some 24.8 days. */
export const timerMaxMs = 2 ** 31 - 1;

/** Whether the process stays for what is to come. */
type Held = "held" | "unheld";

/** Calls `act` once, after `ms`, however long that is; infinite = never. Returns what calls it off. Throws RangeError for NaN. */
export function callAfter(ms: number, act: () => void, held: Held = "held"): () => void {
  if (Number.isNaN(ms)) throw new RangeError("wait: NaN is no duration");
  if (ms === Number.POSITIVE_INFINITY) return () => {};
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number) => {
    timer =
      leftMs > timerMaxMs
        ? setTimeout(() => wait(leftMs - timerMaxMs), timerMaxMs)
        : setTimeout(act, Math.max(0, leftMs));
    if (held === "unheld") timer.unref();
  };
  wait(ms);
  return () => clearTimeout(timer);
}

/** Calls `act` again and again, each time after `ms`, which a timer of Node's can wait. Returns what ends it. Throws RangeError. */
export function callEvery(ms: number, act: () => void, held: Held = "held"): () => void {
  if (!(ms > 0 && ms <= timerMaxMs)) throw new RangeError(`wait: ${ms} ms, expected 1 to ${timerMaxMs}`);
  const timer = setInterval(act, ms);
  if (held === "unheld") timer.unref();
  return () => clearInterval(timer);
}

/** A signal that is aborted with a TimeoutError after `ms`, however long that is; infinite = never. Throws RangeError for NaN. */
export function timeoutSignal(ms: number): AbortSignal {
  // Node's own is forgotten with whoever listened.
  if (ms <= timerMaxMs) return AbortSignal.timeout(Math.max(0, Math.ceil(ms)));
  const late = new AbortController();
  callAfter(
    ms,
    () => late.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError")),
    "unheld",
  );
  return late.signal;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const end = callAfter(ms, () => {
        signal?.removeEventListener("abort", cancel);
        resolve();
      });
      const cancel = () => {
        end();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", cancel, { once: true });
    }),
};

/** A clock for tests: time passes only when `advance` is called. */
export class ManualClock implements Clock {
  #ms: number;
  #setByMs = 0;
  #sleepers: { at: number; wake: () => void }[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#ms = startMs;
  }

  now(): number {
    return this.#ms + this.#setByMs;
  }

  /** Sets the wall clock, as somebody who sets the time does. */
  setTo(nowMs: number): void {
    this.#setByMs = nowMs - this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const sleeper = { at: this.#ms + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener(
        "abort",
        () => {
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  /** Lets `ms` pass, waking sleepers in order, each with a turn of the event loop to react. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.#sleepers.filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((s) => s !== next);
      this.#ms = Math.max(this.#ms, next.at);
      next.wake();
    }
    this.#ms = end;
  }
}
