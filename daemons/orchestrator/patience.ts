import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** Pause between two tries of a call to a daemon that is away. */
const retryPauseMs = 300;

/** Makes a call to another daemon, again and again while that daemon is away. Other errors are thrown at once. */
export async function patiently<T>(clock: Clock, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    await clock.sleep(retryPauseMs, signal);
  }
}

/** Whether an error says that the other side cannot be reached at present, rather than that it refused. */
export function isAway(error: unknown): boolean {
  return error instanceof AiosError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");
}
