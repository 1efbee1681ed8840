/**
 * Signals are ended where they are held. A goal has two controllers of its own, and who listened to a signal leaves it:
 * Node keeps a composite signal (`AbortSignal.any`) for ever once it has a listener, which was a kilobyte for every
 * task that ever ran.
 */
import type { Goal } from "../goal.ts";
import { isOver } from "../goal.ts";
import { closeGoal } from "./closing.ts";
import { settleTasks, takeUp } from "./resume.ts";
import { workOn } from "./work.ts";
import type { World } from "./world.ts";
import { Cancelled, Held, type Signals } from "./world.ts";

/** Time for running goals to take back their grants at the end. */
const endGraceMs = 1_000;

/** A goal that is not over. */
export interface OpenGoal {
  readonly goal: Goal;
  /** Resolves when the goal is over. */
  readonly over: PromiseWithResolvers<void>;
  /** Aborted to begin nothing new for it. */
  stopNew: AbortController;
  /** Aborted, with the one above, to stop also what runs for it. */
  stopAll: AbortController;
  /** Resolves when nobody works on it; undefined when that is so. */
  work: Promise<void> | undefined;
  /** Resolves when the last act on it that is waiting has ended. */
  turn: Promise<unknown>;
}

/** The goals that are not over, and who works on which. */
export interface OpenGoals {
  readonly open: Map<string, OpenGoal>;
  /** Takes a goal in, without beginning it. */
  admit(goal: Goal): OpenGoal;
  /** Works on a goal from where it is, unless somebody does or all are held. */
  start(one: OpenGoal): void;
  /** Acts on a goal after all that was begun before: of two acts at once the second finds what the first has made of it. */
  inTurn<T>(one: OpenGoal, act: () => Promise<T>): Promise<T>;
  /** Stops a goal for good; resolves when it is closed. */
  cancel(one: OpenGoal, reason: string): Promise<void>;
  /** While held no goal is worked on. */
  hold(reason: string): Promise<void>;
  release(): Promise<void>;
  /** Whether what an earlier run left has been taken up. */
  resumed(): boolean;
  resume(): Promise<void>;
  end(): Promise<void>;
}

export function keepOpenGoals(world: World): OpenGoals {
  const { store, clock, log } = world;
  const open = new Map<string, OpenGoal>();
  const stop = new AbortController();
  let held = false;
  let resumed = false;

  const admit = (goal: Goal): OpenGoal => {
    const one = newOpenGoal(goal);
    open.set(goal.id, one);
    return one;
  };

  /** Waits until the goals that it depends on are over; resolves with why it fails for them, or "". */
  const prerequisites = async ({ dependsOn }: Goal): Promise<string> => {
    for (const id of dependsOn) {
      await open.get(id)?.over.promise;
      const other = await store.find(id);
      if (other?.state !== "completed") return `goal ${id}, which it depends on, is ${other?.state ?? "not there"}`;
    }
    return "";
  };

  const start = (one: OpenGoal) => {
    if (one.work !== undefined || held || stop.signal.aborted) return;
    const { goal } = one;
    one.stopNew = new AbortController();
    one.stopAll = new AbortController();
    const signals: Signals = { waiting: one.stopNew.signal, running: one.stopAll.signal };
    one.work = workOn(goal, world, signals, prerequisites)
      .catch((error) => log.error("a goal was left by an exception", { goal: goal.id, error }))
      .finally(() => {
        one.work = undefined;
        if (!isOver(goal.state)) return;
        open.delete(goal.id);
        one.over.resolve();
      });
  };

  const haltAll = (reason: Held) =>
    Promise.all(
      [...open.values()].map((one) => {
        halt(one, reason);
        return one.work;
      }),
    );

  return {
    open,
    admit,
    start,
    inTurn,
    cancel: (one, reason) =>
      inTurn(one, async () => {
        if (isOver(one.goal.state)) return;
        halt(one, new Cancelled(reason));
        if (one.work === undefined) await closeGoal(one.goal, world, reason);
        await one.work;
        open.delete(one.goal.id);
        one.over.resolve();
      }),
    async hold(reason) {
      held = true;
      await haltAll(new Held(reason));
    },
    async release() {
      if (!held) return;
      held = false;
      const goOn = async (one: OpenGoal) => {
        // Somebody may have gone on with it since.
        if (one.work !== undefined || isOver(one.goal.state)) return;
        await settleTasks(one.goal, world, stop.signal);
        if (isAtWork(one.goal)) start(one);
      };
      await Promise.all([...open.values()].map((one) => inTurn(one, () => goOn(one))));
    },
    resumed: () => resumed,
    async resume() {
      const taken = (await takeUp(world, stop.signal)).map(admit);
      for (const one of taken) if (isAtWork(one.goal)) start(one);
      resumed = true;
    },
    async end() {
      const ended = new Held("the orchestrator ends");
      stop.abort(ended);
      await Promise.race([haltAll(ended), clock.sleep(endGraceMs)]);
    },
  };
}

function newOpenGoal(goal: Goal): OpenGoal {
  return {
    goal,
    over: Promise.withResolvers(),
    stopNew: new AbortController(),
    stopAll: new AbortController(),
    work: undefined,
    turn: Promise.resolve(),
  };
}

function inTurn<T>(one: OpenGoal, act: () => Promise<T>): Promise<T> {
  const done = one.turn.then(act);
  one.turn = done.catch(() => {});
  return done;
}

/** Stops all that is done for a goal. */
function halt({ stopAll, stopNew }: OpenGoal, reason: Cancelled | Held): void {
  stopAll.abort(reason);
  stopNew.abort(reason);
}

/** Whether the orchestrator has something to do for it; if not, a person has. */
function isAtWork({ state }: Goal): boolean {
  return state === "pending" || state === "planning" || state === "in_progress";
}
