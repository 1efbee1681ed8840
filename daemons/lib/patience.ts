import type { Clock } from "./clock.ts";
import { AiosError } from "./errors.ts";

/** When a call that failed is made again, and how often. */
export interface Patience {
  /** The pause after the first failure, milliseconds; after each further one it is twice as long. */
  readonly firstMs: number;
  /** The longest pause. */
  readonly mostMs?: number;
  /** Tries at most; without it as many as it takes. */
  readonly triesMax?: number;
  /** Whether another try may mend it; without it, any failure. What no try mends is thrown at once. */
  readonly passing?: (error: unknown) => boolean;
}

/** Makes a call until it succeeds or `patience` ends. Throws its last failure, or the reason when `signal` is aborted. */
export async function patiently<T>(
  { firstMs, mostMs = Number.POSITIVE_INFINITY, triesMax = Number.POSITIVE_INFINITY, passing = () => true }: Patience,
  { clock, signal, failed }: { clock: Clock; signal?: AbortSignal; failed?: (error: unknown) => void },
  call: (attempt: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await call(attempt);
    } catch (error) {
      if (attempt >= triesMax || !passing(error)) throw error;
      failed?.(error);
    }
    await clock.sleep(Math.min(mostMs, firstMs * 2 ** (attempt - 1)), signal);
  }
}

/** Whether a daemon, or the machine, could not be asked: it may be starting again. */
export function isAway(error: unknown): boolean {
  return error instanceof AiosError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");
}
