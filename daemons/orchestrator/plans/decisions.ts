/**
 * Why is kept with what. Each decision (what was asked for a plan, why it was not taken, what was chosen and why) is
 * stored with its goal and in the log of decisions, there also with what came of it. `aiosctl goal explain` tells it
 * with the ledger's calls.
 */
import { hash } from "node:crypto";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { cut } from "#lib/text";
import type { DecisionNote, Goal, Option } from "../goal.ts";
import { patiently } from "../patience.ts";
import type { Draft } from "../plan.ts";

/** Characters of what a source said that are kept with the goal. */
const verdictLengthMax = 2_000;

/** At most this many decisions wait to be stored while aios-memory is away. */
const waitingMax = 5_000;

/** A decision as it is kept with its goal. */
export function noteOf(situation: string, options: readonly Option[], draft: Draft, at: number): DecisionNote {
  const shortened = options.map(({ verdict, ...option }) => ({ ...option, verdict: shortOf(verdict) }));
  const common = { at, situation: shortOf(situation), options: shortened };
  if ("steps" in draft) {
    const { origin: chosen, why, level, model, procedure } = draft;
    return { ...common, chosen, why, level, model, procedure };
  }
  const level = options.at(-1)?.level ?? "reactive";
  const none = { ...common, level, model: "", procedure: "" };
  if ("question" in draft) return { ...none, chosen: "ask the person", why: draft.question };
  return { ...none, chosen: "give up", why: shortOf(draft.reason) };
}

const shortOf = (text: string): string => cut(text, verdictLengthMax);

/** A decision as the log of decisions has it. */
export interface LoggedDecision extends DecisionNote {
  /** The same each time for the same decision of a goal. */
  readonly id: string;
  readonly goalId: string;
  readonly description: string;
  /** Its outcome; empty while the goal is not over. */
  readonly outcome: string;
}

/** A decision for a goal: between what, and why. */
export interface GoalDecision {
  readonly goal: Goal;
  readonly situation: string;
  readonly options: readonly Option[];
  readonly draft: Draft;
}

/** Keeps decisions where people and models find them later. */
interface DecisionLog {
  decided(decision: GoalDecision): void;
  /** Tells what came of the decisions of a goal. */
  ended(goal: Goal): void;
  /** Resolves when all that was told so far is stored. */
  settled(): Promise<void>;
}

/** Stores decisions one after the other, in the background and until `signal` is aborted; nothing waits for them. */
export function openDecisionLog(
  store: (decision: LoggedDecision) => Promise<void>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): DecisionLog {
  let queue: Promise<void> = Promise.resolve();
  let waiting = 0;

  const keep = (decision: LoggedDecision) => {
    if (waiting >= waitingMax) return log.warn("a decision is not logged: too many wait", { goal: decision.goalId });
    waiting += 1;
    queue = queue
      .then(() => patiently(clock, signal, () => store(decision)))
      .catch((error: unknown) => {
        if (!signal.aborted) log.warn("a decision is not logged", { goal: decision.goalId, reason: messageOf(error) });
      })
      .finally(() => {
        waiting -= 1;
      });
  };

  return {
    decided({ goal }) {
      const note = goal.decisions.at(-1);
      if (note !== undefined) keep(logEntry(goal, note, goal.decisions.length - 1, ""));
    },
    ended(goal) {
      goal.decisions.forEach((note, at) => {
        keep(logEntry(goal, note, at, outcomeOf(goal, at)));
      });
    },
    settled: () => queue,
  };
}

function logEntry(goal: Goal, note: DecisionNote, at: number, outcome: string): LoggedDecision {
  const id = `decision-${hash("sha256", `${goal.id}/${at}`, "hex").slice(0, 32)}`;
  return { ...note, id, goalId: goal.id, description: goal.description, outcome };
}

/** Of a decision that another followed, the next one's situation says what came of it. */
function outcomeOf({ decisions, state, result }: Goal, at: number): string {
  const next = decisions[at + 1];
  if (next === undefined) return state === "completed" ? "completed" : `${state}: ${shortOf(result)}`;
  return decisions[at]?.chosen === "ask the person" ? "answered" : `failed: ${next.situation}`;
}
