import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { answerBytesMax, type Event, sizeBytes } from "./records.ts";

export interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
}

/** The operational memory: the last hour's events and the last value of each metric, in this process. */
export interface Operational {
  push(event: Event): void;
  /** Newest first, at most `count`; of one category and source, or (empty) of all. */
  recent(count: number, category: string, source: string): Event[];
  /** RESOURCE_EXHAUSTED when there are too many keys. */
  setMetric(metric: Metric): void;
  /** NOT_FOUND when there is none. */
  metric(key: string): Metric;
}

/** Events older than this are dropped, and so is the oldest while there are too many, in number or in bytes. */
const ageMaxMs = 3_600_000;
const bytesMax = 67_108_864;

const metricKeysMax = 10_000;

/** `entriesMax` events at most; `earlier` are those that outlived a restart, oldest first. */
export function openOperational(entriesMax: number, earlier: readonly Event[], clock: Clock): Operational {
  const ring: (Event | undefined)[] = new Array(entriesMax);
  const metrics = new Map<string, Metric>();
  let first = 0;
  let count = 0;
  let bytes = 0;

  const at = (index: number) => ring[(first + index) % entriesMax] as Event;
  const dropFirst = () => {
    bytes -= sizeBytes(at(0));
    ring[first] = undefined;
    first = (first + 1) % entriesMax;
    count--;
  };
  const dropOld = () => {
    const oldest = clock.now() - ageMaxMs;
    while (count > 0 && at(0).timestamp < oldest) dropFirst();
  };
  const push = (event: Event) => {
    bytes += sizeBytes(event);
    if (count === entriesMax) dropFirst();
    ring[(first + count) % entriesMax] = event;
    count++;
    while (bytes > bytesMax) dropFirst();
    dropOld();
  };

  for (const event of earlier) push(event);

  return {
    push,
    recent(most, category, source) {
      dropOld();
      const found: Event[] = [];
      let foundBytes = 0;
      for (let index = count - 1; index >= 0 && found.length < most; index--) {
        const event = at(index);
        if ((category !== "" && event.category !== category) || (source !== "" && event.source !== source)) continue;
        foundBytes += sizeBytes(event);
        if (foundBytes > answerBytesMax) break;
        found.push(event);
      }
      return found;
    },
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
  };
}
