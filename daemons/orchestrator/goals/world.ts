import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Agents, Assignments } from "../agents/index.ts";
import type { Goal } from "../goal.ts";
import type { GoalDecision, Planner } from "../plans/index.ts";
import type { Tools } from "../tools.ts";
import type { Changes } from "./changes.ts";
import type { Store } from "./store.ts";

/** The means of goals. */
export interface World {
  readonly planner: Planner;
  readonly changes: Changes;
  /** Notes a decision, the last of the goal's, for the log of decisions. Never fails. */
  decided(decision: GoalDecision): void;
  /** A goal has begun to wait for a person, told once for each thing it waits for, also over restarts. Never fails. */
  waits(goal: Goal, forWhat: string): void;
  /** A goal is over: what is to be learned from it. Never fails. */
  ended(goal: Goal): void;
  readonly store: Store;
  readonly tools: Tools;
  readonly agents: Agents;
  readonly assignments: Assignments;
  /** Hosts and folders that plans may name beside what was said. */
  readonly mayName: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** A number from 0 to below 1, for jitter. */
  readonly random: () => number;
}

/** Why a goal is stopped for good before its end. */
export class Cancelled extends Error {
  override readonly name = "Cancelled";
}

/** Why a goal is left as it is, to be gone on with later. */
export class Held extends Error {
  override readonly name = "Held";
}

export interface Signals {
  /** Nothing new is to be begun for the goal. */
  readonly waiting: AbortSignal;
  /** Everything that runs for the goal is to be stopped where it is. */
  readonly running: AbortSignal;
}
