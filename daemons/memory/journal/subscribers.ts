import { AiosError } from "#lib/errors";
import type { Entry } from "./entry.ts";

/** The followers of branches. */
interface Subscribers {
  /** Something was appended to what `key` names. */
  wake(key: string): void;
  follow(following: Following): AsyncIterable<Entry>;
  count(): number;
}

interface Following {
  readonly key: string;
  /** Events after a sequence, as many as are given at once; none when there are none. */
  readonly read: (after: number) => readonly Entry[];
  readonly after: number;
  readonly signal: AbortSignal;
}

const subscribersMax = 256;

/**
 * Every event is read from the journal, old ones and new ones alike, each time from the last one given: there is no
 * difference between catching up and following, and so no gap between them. A slow reader holds up nobody and loses nothing.
 */
export function openSubscribers(): Subscribers {
  const waiting = new Map<string, Set<() => void>>();
  let count = 0;

  /** Resolves at the next append to `key`, or when the signal aborts. */
  const change = (key: string, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const those = waiting.get(key) ?? new Set();
      waiting.set(key, those);
      const done = () => {
        those.delete(done);
        if (those.size === 0 && waiting.get(key) === those) waiting.delete(key);
        signal.removeEventListener("abort", done);
        resolve();
      };
      those.add(done);
      signal.addEventListener("abort", done, { once: true });
    });

  async function* entries({ key, read, after, signal }: Following): AsyncGenerator<Entry> {
    count++;
    try {
      for (let last = after; !signal.aborted; ) {
        const found = read(last);
        for (const entry of found) {
          yield entry;
          last = entry.sequence;
        }
        // Between the read that found nothing and the wait there is no turn of the event loop: nothing can come unseen.
        if (found.length === 0) await change(key, signal);
      }
    } finally {
      count--;
    }
  }

  return {
    wake(key) {
      for (const done of [...(waiting.get(key) ?? [])]) done();
    },
    follow(following) {
      if (count < subscribersMax) return entries(following);
      throw new AiosError("RESOURCE_EXHAUSTED", {
        act: "subscribe to",
        object: "the journal",
        reason: `there are ${subscribersMax} subscribers already`,
        next: "end one of them",
      });
    },
    count: () => count,
  };
}
