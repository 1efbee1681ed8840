import type { Clock } from "#lib/clock";
import { AiosError, type Code } from "#lib/errors";

/** Pause between two tries of a call to a daemon that is away. */
const retryPauseMs = 300;

/** Makes a call to another daemon, again and again while that daemon cannot answer it at present. Other errors are thrown at once. */
export async function patiently<T>(clock: Clock, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    await clock.sleep(retryPauseMs, signal);
  }
}

/** Codes of what another try later can change: the daemon is away, slow, or its disk is full. */
const passingCodes: readonly Code[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"];

function isPassing(error: unknown): boolean {
  return error instanceof AiosError && passingCodes.includes(error.code);
}
