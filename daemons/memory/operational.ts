import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { answerBytesMax, type Event, sizeBytes } from "./records.ts";
import { openRing } from "./ring.ts";
import { openWatchers } from "./watchers.ts";

export interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
}

/** The operational memory: the last hour's events and the last value of each metric, in this process. */
export interface Operational {
  push(event: Event): void;
  /** At most `count` entries, newest first; of one category and source, or (empty) of all. */
  recent(count: number, category: string, source: string): Event[];
  /**
   * The last `recent` events, oldest first, then those that come, until the signal aborts.
   * ABORTED when the reader falls 1,000 events behind; RESOURCE_EXHAUSTED when too many watch.
   */
  watch(recent: number, category: string, source: string, signal: AbortSignal): AsyncIterable<Event>;
  /** RESOURCE_EXHAUSTED when there are too many keys. */
  setMetric(metric: Metric): void;
  /** NOT_FOUND when there is none. */
  metric(key: string): Metric;
  size(): { readonly events: number; readonly bytes: number; readonly metrics: number; readonly watchers: number };
}

const metricKeysMax = 10_000;

/** `entriesMax` events at most; `earlier` and `metrics` are those that outlived a restart, oldest first. */
export function openOperational(
  entriesMax: number,
  earlier: readonly Event[],
  clock: Clock,
  lastMetrics: readonly Metric[] = [],
): Operational {
  const ring = openRing(entriesMax, clock);
  const watchers = openWatchers();
  const metrics = new Map<string, Metric>(lastMetrics.slice(-metricKeysMax).map((metric) => [metric.key, metric]));
  for (const event of earlier) ring.push(event);

  const recent = (most: number, category: string, source: string) => {
    const found: Event[] = [];
    let bytes = 0;
    for (const event of ring.newest(category, source)) {
      bytes += sizeBytes(event);
      if (found.length >= most || bytes > answerBytesMax) break;
      found.push(event);
    }
    return found;
  };
  return {
    push(event) {
      ring.push(event);
      watchers.tell(event);
    },
    recent,
    watch: (count, category, source, signal) =>
      watchers.watch(recent(count, category, source).reverse(), category, source, signal),
    setMetric(metric) {
      if (!metrics.has(metric.key) && metrics.size >= metricKeysMax) {
        throw new AiosError("RESOURCE_EXHAUSTED", {
          act: "store metric",
          object: metric.key,
          reason: `there are ${metricKeysMax} metrics already`,
          next: "use fewer keys",
        });
      }
      metrics.set(metric.key, metric);
    },
    metric(key) {
      const metric = metrics.get(key);
      if (metric !== undefined) return metric;
      throw new AiosError("NOT_FOUND", { act: "find metric", object: key, reason: "it has not been stored" });
    },
    size: () => ({ ...ring.size(), metrics: metrics.size, watchers: watchers.count() }),
  };
}
