/**
 * A thousand goals are open, not busy. Goals that are not over are a thousand at most, 800 of them of agents, schedules
 * and triggers: people always find a place. Where one is missing, the oldest goal is closed that asks something and
 * that no person gave, first of whoever has the most of them; after a week it is closed in any case. A schedule or
 * trigger whose goal is not over gives no other. No number of goals at work is bounded: a goal that waits for a person
 * or a slow tool would keep those out whose agents are free.
 *
 * An open goal is 9 kB; what made 200 MB of a thousand was garbage that V8 did not collect and a stream for each call,
 * so the orchestrator's own heap is told its bound (`heapMiB` in the manifest: it is collected sooner, and its nursery
 * is 4 MiB instead of 32) and 64 calls about goals go to the memory at once.
 */
import { AiosError } from "#lib/errors";
import { isGivenByMachine } from "../goal.ts";
import type { OpenGoal, OpenGoals } from "./open-goals.ts";
import type { World } from "./world.ts";

/** Maximum open goals. */
export const unfinishedGoalsMax = 1_000;

/** At most this many of them are of agents, schedules and triggers: the other places are kept for people. */
export const machineGoalsMax = 800;

/** Longest time that a goal of the machine's own waits for an answer. */
export const askedMostMs = 7 * 86_400_000;

const lookEveryMs = 3_600_000;

/** Places for goals that are not over. */
export interface Capacity {
  /** Whether one more of this giver can be taken now. */
  hasPlace(source: string): boolean;
  /** Closes what keeps a goal of this giver out. Throws RESOURCE_EXHAUSTED when nothing can be closed. */
  makePlace(source: string): Promise<void>;
  /** Closes what has asked for too long and was given by no person, until `signal` is aborted. */
  sweep(signal: AbortSignal): Promise<void>;
}

export function openCapacity({ open, cancel }: Pick<OpenGoals, "open" | "cancel">, { clock, log }: World): Capacity {
  const ofMachine = () => [...open.values()].filter(({ goal }) => isGivenByMachine(goal.source));
  /**
   * Goals that ask and that nobody is sure to miss. An approval that is waited for ends by itself, and may be under
   * way.
   */
  const asking = () => ofMachine().filter(({ goal }) => goal.state === "awaiting_input");
  const isFullFor = (source: string) => isGivenByMachine(source) && ofMachine().length >= machineGoalsMax;

  const close = async (one: OpenGoal, why: string) => {
    const { id, source, updatedAt } = one.goal;
    log.warn("a goal that nobody answered is closed", { goal: id, source, reason: why });
    await cancel(one, `nobody answered it since ${new Date(updatedAt).toISOString().slice(0, 10)}, and ${why}`);
  };

  return {
    hasPlace: (source) => open.size < unfinishedGoalsMax && !isFullFor(source),
    async makePlace(source) {
      const oldest = oldestOfMost(asking());
      if (oldest === undefined) throw full(isFullFor(source));
      await close(oldest, "there was no room for other goals");
    },
    async sweep(signal) {
      while (!signal.aborted) {
        const tooOld = asking().filter(({ goal }) => clock.now() - goal.updatedAt > askedMostMs);
        for (const one of tooOld) await close(one, `that is more than ${askedMostMs / 86_400_000} days ago`);
        await clock.sleep(lookEveryMs, signal).catch(() => {});
      }
    },
  };
}

/** The one that waits longest of the giver that has the most: nobody pushes others out by giving many. */
function oldestOfMost(all: readonly OpenGoal[]): OpenGoal | undefined {
  const bySource = Map.groupBy(all, ({ goal }) => goal.source);
  const [most = []] = [...bySource.values()].toSorted((a, b) => b.length - a.length);
  return most.toSorted((a, b) => a.goal.updatedAt - b.goal.updatedAt)[0];
}

function full(forMachine: boolean): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "take",
    object: "a goal",
    reason: forMachine
      ? `${machineGoalsMax} goals of agents, schedules and triggers are unfinished`
      : `${unfinishedGoalsMax} goals are unfinished`,
    next: 'wait for some, or cancel some (see "aiosctl goal list")',
  });
}
