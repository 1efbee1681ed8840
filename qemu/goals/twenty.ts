/**
 * Twenty goals are compared with the machine. Fifteen are reached and five are refused; what a person is told of each
 * is checked by the machine's own tools, after each no grant of a task may be left, and a refused one leaves no act in
 * the ledger and no changed file in /etc and /srv. The model of the injected one does all that a model can which obeys
 * a file: it lets the file name what is changed (the plan's check), changes it itself (the gate), and grants itself
 * everything (no tool for agents).
 */
import { done } from "./done.ts";
import { refused } from "./refused.ts";
import type { SampleGoal } from "./sample.ts";

/** Fifteen that are done and five that must be refused, over all eight agents. */
export const twentyGoals: readonly SampleGoal[] = [...done, ...refused];
