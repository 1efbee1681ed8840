import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** Why the clock need not wake any more; made once, as each error takes its stack. */
const ended = new AiosError("CANCELLED", "the act ended within its time");

/**
 * Runs `act` for at most `timeoutMs`, then rejects with DEADLINE_EXCEEDED and aborts the signal it was given.
 * JavaScript cannot be stopped from outside: an act that ignores its signal goes on unseen, which the error says.
 */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  caller: AbortSignal,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const over = new AbortController();
  const late = clock.sleep(timeoutMs, over.signal).then(() => {
    const error = new AiosError("DEADLINE_EXCEEDED", `not done after ${timeoutMs} ms; it may still take effect`);
    stop.abort(error);
    throw error;
  });
  const cancel = () => stop.abort(caller.reason);
  if (caller.aborted) cancel();
  caller.addEventListener("abort", cancel, { once: true });
  try {
    return await Promise.race([act(stop.signal), late]);
  } finally {
    caller.removeEventListener("abort", cancel);
    over.abort(ended);
  }
}
