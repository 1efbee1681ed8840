import type { Clock } from "#lib/clock";

/** How long others wait while one request finds out whether a provider is back. */
const probeWaitMs = 1_000;

/**
 * Leaves a provider alone that keeps failing: open after a number of failures in a row, then one request at a time
 * tries.
 */
export interface Breaker {
  /** Milliseconds until a request may be made; 0 = now. */
  waitMs(): number;
  /** A request begins. Call it when `waitMs` is 0. */
  begin(): void;
  succeeded(): void;
  failed(): void;
  /** The request has ended, also one that tells nothing of the provider because it was cancelled. */
  release(): void;
}

export function openBreaker(failuresMax: number, pauseMs: number, clock: Clock): Breaker {
  let failures = 0;
  let openUntil = 0;
  let probing = false;
  const open = () => failures >= failuresMax;
  return {
    waitMs() {
      if (!open()) return 0;
      const wait = openUntil - clock.monotonic();
      return wait > 0 ? wait : probing ? probeWaitMs : 0;
    },
    begin() {
      if (open()) probing = true;
    },
    succeeded() {
      failures = 0;
      probing = false;
    },
    failed() {
      failures += 1;
      probing = false;
      if (open()) openUntil = clock.monotonic() + pauseMs;
    },
    release() {
      probing = false;
    },
  };
}
