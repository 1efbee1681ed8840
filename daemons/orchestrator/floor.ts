import type { Goal } from "./goal.ts";
import { isOver } from "./goal.ts";
import { Cancelled, Held, type Signals, workOn } from "./life.ts";
import { settleTasks, takeUp } from "./resume.ts";
import { closeGoal } from "./run.ts";
import type { World } from "./world.ts";

/** At the end running goals get so long to take back their grants. */
const endGraceMs = 1_000;

/** A goal that is not over. */
export interface Open {
  readonly goal: Goal;
  /** Resolves when the goal is over. */
  readonly over: PromiseWithResolvers<void>;
  cancel: AbortController;
  pause: AbortController;
  /** Resolves when nobody works on it; undefined when that is so. */
  work: Promise<void> | undefined;
}

/** The goals that are not over, and who works on which. */
export interface Floor {
  readonly open: Map<string, Open>;
  /** Takes a goal in, without beginning it. */
  admit(goal: Goal): Open;
  /** Works on a goal from where it is, unless all are held. */
  start(one: Open): void;
  /** Stops a goal for good; resolves when it is closed. */
  cancel(one: Open, reason: string): Promise<void>;
  /** While held no goal is worked on. */
  hold(reason: string): Promise<void>;
  release(): Promise<void>;
  /** Whether what an earlier run left has been taken up. */
  resumed(): boolean;
  resume(): Promise<void>;
  end(): Promise<void>;
}

export function openFloor(world: World): Floor {
  const { store, clock, log } = world;
  const open = new Map<string, Open>();
  const stop = new AbortController();
  let hold = new AbortController();
  let resumed = false;

  const admit = (goal: Goal): Open => {
    const one: Open = {
      goal,
      over: Promise.withResolvers(),
      cancel: new AbortController(),
      pause: new AbortController(),
      work: undefined,
    };
    open.set(goal.id, one);
    return one;
  };

  /** What it depends on is over, or the goal fails for it. */
  const prerequisites = async ({ dependsOn }: Goal): Promise<string> => {
    for (const id of dependsOn) {
      await open.get(id)?.over.promise;
      const other = await store.find(id);
      if (other?.state !== "completed") return `goal ${id}, which it depends on, is ${other?.state ?? "not there"}`;
    }
    return "";
  };

  const start = (one: Open) => {
    if (hold.signal.aborted || stop.signal.aborted) return;
    const { goal } = one;
    one.cancel = new AbortController();
    one.pause = new AbortController();
    const running = AbortSignal.any([one.cancel.signal, hold.signal, stop.signal]);
    const signals: Signals = { waiting: AbortSignal.any([running, one.pause.signal]), running };
    one.work = workOn(goal, world, signals, prerequisites)
      .catch((error) => log.error("a goal was left by an exception", { goal: goal.id, error }))
      .finally(() => {
        one.work = undefined;
        if (!isOver(goal.state)) return;
        open.delete(goal.id);
        one.over.resolve();
      });
  };

  return {
    open,
    admit,
    start,
    async cancel(one, reason) {
      one.cancel.abort(new Cancelled(reason));
      if (one.work === undefined) await closeGoal(one.goal, world, reason);
      await one.work;
      open.delete(one.goal.id);
      one.over.resolve();
    },
    async hold(reason) {
      hold.abort(new Held(reason));
      await Promise.all([...open.values()].map(({ work }) => work));
    },
    async release() {
      if (!hold.signal.aborted) return;
      hold = new AbortController();
      for (const one of open.values()) {
        await settleTasks(one.goal, world, stop.signal);
        if (isAtWork(one.goal)) start(one);
      }
    },
    resumed: () => resumed,
    async resume() {
      const taken = (await takeUp(world, stop.signal)).map(admit);
      for (const one of taken) if (isAtWork(one.goal)) start(one);
      resumed = true;
    },
    async end() {
      stop.abort(new Held("the orchestrator ends"));
      const all = Promise.all([...open.values()].map(({ work }) => work));
      await Promise.race([all, clock.sleep(endGraceMs)]);
    },
  };
}

/** Whether the orchestrator has something to do for it; if not, a person has. */
function isAtWork({ state }: Goal): boolean {
  return state === "pending" || state === "planning" || state === "in_progress";
}
