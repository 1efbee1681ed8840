import { AiosError } from "#lib/errors";
import { type Event, sizeBytes } from "./records.ts";

/** The listeners to events as they come. */
interface Watchers {
  tell(event: Event): void;
  /** First `before`, then what comes, of one category and source or (empty) of all. */
  watch(before: readonly Event[], category: string, source: string, signal: AbortSignal): AsyncIterable<Event>;
  count(): number;
}

const watchersMax = 128;

/** Events, and bytes of events, that wait for a slow reader. */
const behindMax = 1_000;
const behindBytesMax = 16_777_216;

interface Watcher {
  readonly category: string;
  readonly source: string;
  queue: Event[];
  bytes: number;
  lagged: boolean;
  wake: () => void;
}

export function openWatchers(): Watchers {
  const watchers = new Set<Watcher>();
  return {
    tell(event) {
      if (watchers.size === 0) return;
      const size = sizeBytes(event);
      for (const watcher of watchers) {
        const { category, source, queue } = watcher;
        if ((category !== "" && event.category !== category) || (source !== "" && event.source !== source)) continue;
        watcher.bytes += size;
        if (queue.length >= behindMax || watcher.bytes > behindBytesMax) watcher.lagged = true;
        else queue.push(event);
        watcher.wake();
      }
    },
    watch(before, category, source, signal) {
      if (watchers.size >= watchersMax) throw crowded();
      // Listening begins here and now: what comes before the first is read is not missed.
      const watcher: Watcher = { category, source, queue: [], bytes: 0, lagged: false, wake: () => {} };
      watchers.add(watcher);
      signal.addEventListener("abort", () => watcher.wake(), { once: true });
      return read(before, watcher, signal, () => watchers.delete(watcher));
    },
    count: () => watchers.size,
  };
}

async function* read(
  before: readonly Event[],
  watcher: Watcher,
  signal: AbortSignal,
  leave: () => void,
): AsyncGenerator<Event> {
  try {
    yield* before;
    while (!signal.aborted) {
      const events = watcher.queue;
      watcher.queue = [];
      watcher.bytes = 0;
      for (const event of events) yield event;
      if (watcher.lagged) throw lagged();
      if (watcher.queue.length > 0 || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        watcher.wake = resolve;
      });
    }
  } finally {
    leave();
  }
}

function crowded(): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "watch",
    object: "events",
    reason: `${watchersMax} watch already`,
    next: "end one of them",
  });
}

function lagged(): AiosError {
  return new AiosError("ABORTED", {
    act: "watch",
    object: "events",
    reason: `${behindMax} of them or ${behindBytesMax} bytes waited to be read`,
    next: "watch again, and read faster or filter",
  });
}
