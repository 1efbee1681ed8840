import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Agents } from "./agents.ts";
import type { Assignments } from "./assignments.ts";
import type { Store } from "./store.ts";
import type { Tools } from "./tools.ts";

/** What goals run with. */
export interface World {
  readonly store: Store;
  readonly tools: Tools;
  readonly agents: Agents;
  readonly assignments: Assignments;
  readonly clock: Clock;
  readonly log: Log;
  /** A number from 0 to below 1, for jitter. */
  readonly random: () => number;
}
