/**
 * What worked is learned, and used while it works. A goal that a model's plan has reached becomes a procedure in
 * aios-memory: paths, addresses, numbers and quoted words of the goal that the plan uses become parameters, a name only
 * where every value that holds it is that name. Each use counts; it is used while the lower end of Wilson's interval at
 * one standard deviation is at least a half: after one success, no more after one failure, again after three successes
 * for each. Procedures of the image are counted too, are used whatever their count, and go by what the image declares
 * now.
 */
import { hash } from "node:crypto";
import { beginning } from "#lib/text";
import type { Goal } from "../../goal.ts";
import type { JsonObject } from "../../json.ts";
import type { ParameterType } from "../../phrase.ts";
import type { PlannedStep } from "../../plan.ts";
import { literalTemplate } from "../../template.ts";
import { isProven } from "./confidence.ts";
import { generalise } from "./generalise.ts";

/** A way to reach goals of one kind that has been gone before. */
export interface Learned {
  readonly id: string;
  /** "reverse-proxy" when it is one that the image declares, else a name of its own. */
  readonly name: string;
  /** The words of its goals, with holes. */
  readonly phrase: string;
  readonly parameters: Readonly<Record<string, ParameterType>>;
  readonly result: string;
  readonly steps: readonly PlannedStep[];
  /** The goal that it was learned from, and what had planned that. */
  readonly goalId: string;
  readonly origin: string;
  readonly successes: number;
  readonly failures: number;
  readonly averageMs: number;
  readonly createdAt: number;
  readonly lastUsed: number;
}

/** Where what was learned is kept. What resolved is durable. Calls throw UNAVAILABLE while it is away. */
export interface LearnedStore {
  list(): Promise<readonly Learned[]>;
  put(learned: Learned): Promise<void>;
}

/** The key of a kind of goals. */
export function learnedId(name: string, phrase: string): string {
  return `learned-${hash("sha256", `${name}\n${phrase.toLowerCase()}`, "hex").slice(0, 24)}`;
}

/**
 * The lesson of a goal that has succeeded; undefined when it could not be done again: its plan is the second after one
 * that failed, or it has braces, which phrases cannot hold.
 */
export function lessonOf(goal: Goal, now: number): Learned | undefined {
  const { plan, description, tasks } = goal;
  if (plan.round !== 0 || Object.keys(plan.parameters).length > 0 || /[{}]/.test(description)) return undefined;
  if (goal.questions.length > 0 || tasks.length === 0) return undefined;
  const nameOf = new Map(tasks.map(({ id, step }) => [id, step]));
  const steps = tasks.map((task) => ({
    name: task.step,
    description: literalTemplate(task.description),
    tool: task.tool,
    agent: task.wantedAgent,
    needs: task.dependsOn.flatMap((id) => nameOf.get(id) ?? []),
    input: task.template,
    expect: task.expect,
    also: task.also,
  }));
  const general = generalise(description, { steps, result: plan.result });
  const name = nameFor(general.phrase);
  return {
    ...general,
    id: learnedId(name, general.phrase),
    name,
    goalId: goal.id,
    origin: plan.origin,
    successes: 1,
    failures: 0,
    averageMs: tookMs(goal, now),
    createdAt: now,
    lastUsed: now,
  };
}

/** The same after another use. Steps that differ are a new way, of which nothing is known yet. */
export function afterSuccess(before: Learned | undefined, lesson: Learned): Learned {
  if (before === undefined || !isSame(before.steps, lesson.steps)) return lesson;
  const successes = before.successes + 1;
  const averageMs = Math.round(before.averageMs + (lesson.averageMs - before.averageMs) / successes);
  return { ...before, successes, averageMs, lastUsed: lesson.lastUsed };
}

export function afterFailure(before: Learned, now: number): Learned {
  return { ...before, failures: before.failures + 1, lastUsed: now };
}

export function isSame(one: readonly PlannedStep[], other: readonly PlannedStep[]): boolean {
  const bare = (steps: readonly PlannedStep[]) => steps.map(({ description: _, ...step }) => sortKeys(step));
  return JSON.stringify(bare(one)) === JSON.stringify(bare(other));
}

/** With keys in one order: what comes out of the store may have another. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value as JsonObject).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortKeys(inner)]));
}

export function tookMs(goal: Goal, now: number): number {
  const starts = goal.tasks.map(({ startedAt }) => startedAt).filter((at) => at > 0);
  return starts.length === 0 ? 0 : Math.max(0, now - Math.min(...starts));
}

/** In words: "worked 3 of 4 times". */
export function recordOf({ successes, failures }: Pick<Learned, "successes" | "failures">): string {
  const tries = successes + failures;
  if (tries === 1) return successes === 1 ? "worked the one time it was used" : "failed the one time it was used";
  return `worked ${successes} of ${tries} times`;
}

export const isUsable = ({ successes, failures }: Learned): boolean => isProven(successes, failures);

/** A name for people: the first words of the phrase. */
function nameFor(phrase: string): string {
  const words = phrase.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return beginning(words.slice(0, 8).join("-"), 64) || "goal";
}
