import type { Clock } from "#lib/clock";
import type { Store } from "../store/index.ts";
import { type Deeds, openDeeds } from "./deeds.ts";
import { type Goals, openGoals } from "./goals.ts";
import { type MetricHistory, openMetricHistory } from "./metrics.ts";
import { openPatterns, type Patterns } from "./patterns.ts";
import { openRetention } from "./retention.ts";

/** The working memory. Reads are synchronous; what has been written is on the disk when its promise resolves. */
export interface Working extends Goals, Deeds, Patterns {
  readonly metrics: MetricHistory;
  /** Deletes one batch of what is past its time; resolves to how many rows that were. */
  prune(nowMs: number): Promise<number>;
}

export function openWorking(store: Store, clock: Clock): Working {
  return {
    ...openGoals(store),
    ...openDeeds(store),
    ...openPatterns(store),
    metrics: openMetricHistory(store, clock),
    prune: openRetention(store),
  };
}
