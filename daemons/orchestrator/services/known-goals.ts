import type { KnownGoal } from "#proto/aios/goal_control";
import type { Learning } from "../plans/learned/index.ts";
import type { Procedure } from "../plans/procedures/index.ts";

/** The goals that need no model, as they are said: what the image declares, and what was learned beside it. */
export function knownGoals(declared: readonly Procedure[], learning: Pick<Learning, "usable">): KnownGoal[] {
  const ours = declared.map(({ name, summary, phrases }) => ({
    ...{ name, summary, learned: false },
    phrases: phrases.map(({ text }) => text),
  }));
  // A procedure of the image that was used is learned too.
  const others = (learning.usable() ?? []).filter(({ name }) => !declared.some((one) => one.name === name));
  const learned = others.map(({ name, phrase, steps }) => ({
    ...{ name, learned: true, phrases: [phrase] },
    summary: `Learned here: ${steps.map(({ tool }) => tool).join(", ")}.`,
  }));
  return [...ours, ...learned].toSorted((a, b) => a.name.localeCompare(b.name));
}
