import { done } from "./done.ts";
import { refused } from "./refused.ts";
import type { SampleGoal } from "./sample.ts";

/** Fifteen that are done and five that must be refused, over all eight agents. */
export const twentyGoals: readonly SampleGoal[] = [...done, ...refused];
