/** Values that one side puts in and another takes out, in order. */
interface Queue<T> {
  put(value: T): void;
  /** The values, as they come, until the signal is aborted. */
  taken(signal: AbortSignal): AsyncGenerator<T>;
}

/** A queue for a reader that may be slow: of more than `most` that wait the oldest are passed over. */
export function openQueue<T>(most = Number.POSITIVE_INFINITY): Queue<T> {
  const waiting: T[] = [];
  let wake = () => {};
  return {
    put(value) {
      waiting.push(value);
      if (waiting.length > most) waiting.shift();
      wake();
    },
    async *taken(signal) {
      const end = () => wake();
      signal.addEventListener("abort", end, { once: true });
      try {
        while (!signal.aborted) {
          const next = waiting.shift();
          if (next !== undefined) yield next;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        signal.removeEventListener("abort", end);
      }
    },
  };
}
