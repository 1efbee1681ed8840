import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Agents } from "../agents/agents.ts";
import type { Assignments } from "../agents/assignments.ts";
import type { Goal, Option } from "../goal.ts";
import type { Draft } from "../plan.ts";
import type { Planner } from "../plans/planner.ts";
import type { Tools } from "../tools.ts";
import type { Changes } from "./changes.ts";
import type { Store } from "./store.ts";

/** What was decided for a goal, between what, and why. */
export interface GoalDecision {
  readonly goal: Goal;
  readonly situation: string;
  readonly options: readonly Option[];
  readonly draft: Draft;
}

/** What goals run with. */
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
