/**
 * A question can wait. With `when_unavailable: "queue"` it waits in memory, while its caller holds on, until a provider
 * can be asked; nothing is lost by a restart that its caller does not hear of.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** Questions that wait until a provider can be asked. They wait in memory, for as long as their callers hold on. */
interface Queue {
  /** Takes a place. Throws RESOURCE_EXHAUSTED when there is none. */
  enter(): Place;
  length(): number;
}

export interface Place {
  /**
   * Waits `ms`, or as long as may still be waited. Throws `why` when the longest wait is over, and the signal's reason
   * when it is aborted.
   */
  wait(ms: number, why: AiosError, signal: AbortSignal): Promise<void>;
  leave(): void;
}

/** Tries are not made more often. */
const waitLeastMs = 250;

export function openQueue(lengthMax: number, waitMaxMs: number, clock: Clock): Queue {
  let length = 0;
  return {
    length: () => length,
    enter() {
      if (length >= lengthMax)
        throw new AiosError("RESOURCE_EXHAUSTED", {
          act: "queue",
          object: "the question",
          reason: `${length} wait already, which is the most`,
          next: "try again later",
        });
      length += 1;
      const until = clock.monotonic() + waitMaxMs;
      return {
        async wait(ms, why, signal) {
          const leftMs = until - clock.monotonic();
          if (leftMs <= 0) throw why;
          await clock.sleep(Math.min(leftMs, Math.max(ms, waitLeastMs)), signal);
        },
        leave() {
          length -= 1;
        },
      };
    },
  };
}
