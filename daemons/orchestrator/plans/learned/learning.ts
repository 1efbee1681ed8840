import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Goal } from "../../goal.ts";
import { patiently } from "../../patience.ts";
import { bestFit, type Declared } from "../procedures/index.ts";
import {
  afterFailure,
  afterSuccess,
  isUsable,
  type Learned,
  type LearnedStore,
  learnedId,
  lessonOf,
  tookMs,
} from "./learned.ts";

/** At most this many procedures are remembered; beyond it those used longest ago are forgotten. */
export const learnedMax = 1_000;

/** The procedures that this machine has learned. */
export interface Learning {
  /** Procedures that may be used now, the most certain first; undefined while they are not loaded. */
  usable(): readonly Learned[] | undefined;
  /** All that is known, also what may not be used. */
  all(): readonly Learned[];
  /** Finds a procedure by its id or name. */
  find(id: string): Learned | undefined;
  /** Learns from a goal that is over. Never fails. */
  ended(goal: Goal): void;
  /** Resolves when all that was learned so far is stored, or could not be. */
  settled(): Promise<void>;
}

/** Loads what was learned and goes on learning until `signal` is aborted. `declared`: the procedures of the image. */
export function openLearning(
  store: LearnedStore,
  declared: () => Declared,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Learning {
  const known = new Map<string, Learned>();
  let loaded = false;

  const load = async () => {
    for (const one of await patiently(clock, signal, () => store.list())) known.set(one.id, one);
    loaded = true;
  };
  // What is learned is stored one after the other, and after what was known is there: counts go up by what they were.
  let queue = load().catch((error: unknown) => {
    if (signal.aborted) return;
    const missing = error instanceof AiosError && error.code === "UNIMPLEMENTED";
    if (!missing) log.error("what was learned cannot be read", { error });
    loaded = true;
  });

  const keep = async (learned: Learned) => {
    known.set(learned.id, learned);
    if (known.size > learnedMax) {
      const oldest = [...known.values()].toSorted((a, b) => a.lastUsed - b.lastUsed)[0];
      if (oldest !== undefined) known.delete(oldest.id);
    }
    await patiently(clock, signal, () => store.put(learned));
  };

  /** The plans before the last one have failed. */
  const weakenReplaced = async (goal: Goal, now: number): Promise<void> => {
    for (const { procedure } of goal.decisions.slice(0, -1)) {
      const before = known.get(procedure);
      if (before !== undefined) await keep(afterFailure(before, now));
    }
  };

  const learn = async (goal: Goal): Promise<void> => {
    const now = clock.now();
    await weakenReplaced(goal, now);
    const followed = known.get(goal.plan.procedure);
    if (goal.state === "failed") {
      const lesson = declaredLesson(goal, declared(), now);
      const before = followed ?? (lesson && (known.get(lesson.id) ?? { ...lesson, successes: 0 }));
      if (before !== undefined) await keep(afterFailure(before, now));
      return;
    }
    if (followed !== undefined) {
      return await keep(afterSuccess(followed, { ...followed, averageMs: tookMs(goal, now), lastUsed: now }));
    }
    const lesson = goal.plan.procedure === "" ? lessonOf(goal, now) : declaredLesson(goal, declared(), now);
    if (lesson === undefined) return;
    const learned = afterSuccess(known.get(lesson.id), lesson);
    await keep(learned);
    if (learned === lesson) log.info("a procedure was learned", { goal: goal.id, procedure: lesson.phrase });
  };

  return {
    usable: () =>
      loaded ? [...known.values()].filter(isUsable).toSorted((a, b) => b.successes - a.successes) : undefined,
    all: () => [...known.values()],
    find: (id) => known.get(id) ?? [...known.values()].find(({ name }) => name === id),
    ended(goal) {
      // A goal that never had a plan, or that a person ended, says nothing of any way.
      if (goal.plan.origin === "" || goal.state === "cancelled") return;
      queue = queue
        .then(() => learn(goal))
        .catch((error: unknown) => {
          if (!signal.aborted) log.warn("nothing was learned from a goal", { goal: goal.id, reason: messageOf(error) });
        });
    },
    settled: () => queue,
  };
}

/** A declared procedure is remembered by the phrase that led to it, as long as that says all its parameters. */
function declaredLesson(goal: Goal, { procedures }: Declared, now: number): Learned | undefined {
  const best = bestFit(goal.description, procedures);
  if (best === undefined || best.procedure.name !== goal.plan.procedure || goal.plan.round !== 0) return undefined;
  const { procedure, phrase } = best;
  if (Object.keys(procedure.parameters).some((name) => !phrase.parameters.includes(name))) return undefined;
  return {
    id: learnedId(procedure.name, phrase.text),
    name: procedure.name,
    phrase: phrase.text,
    parameters: procedure.parameters,
    result: procedure.result,
    steps: procedure.steps,
    goalId: goal.id,
    origin: goal.plan.origin,
    successes: 1,
    failures: 0,
    averageMs: tookMs(goal, now),
    createdAt: now,
    lastUsed: now,
  };
}
