import { AiosError, messageOf } from "#lib/errors";
import { goalOf, tasksOf } from "./birth.ts";
import { type Goal, type GoalState, isOver } from "./goal.ts";
import type { Plan, Planner } from "./procedures.ts";
import { takeUp } from "./resume.ts";
import { Cancelled, endGoal, runGoal } from "./run.ts";
import { checkSubmission, type Submission } from "./submission.ts";
import type { World } from "./world.ts";

/** Goals that are not over, at most. */
export const unfinishedGoalsMax = 1_000;

/** At the end running goals get so long to take back their grants. */
const endGraceMs = 1_000;

export interface Goals {
  /** Takes a goal: stored with its plan when this resolves with its id. */
  submit(submission: Submission): Promise<string>;
  /** A goal with its tasks as they are now. Throws NOT_FOUND. */
  find(id: string): Promise<Goal>;
  list(state: GoalState | "", limit: number, offset: number): Promise<{ goals: Goal[]; total: number }>;
  /** Stops a goal; resolves when it is closed. Throws NOT_FOUND, FAILED_PRECONDITION when it is over already. */
  cancel(id: string, by: string): Promise<void>;
  counts(): { activeGoals: number; pendingTasks: number };
  /** Takes up what an earlier run left unfinished; goals are taken once this has resolved. */
  resume(): Promise<void>;
  /** Stops working on goals, leaving all as it is for the next start. Resolves when it has stopped, within a second. */
  end(): Promise<void>;
}

interface Running {
  readonly goal: Goal;
  readonly cancel: AbortController;
  readonly ended: Promise<void>;
}

/** The goals of this machine. */
export function openGoals(planner: Planner, world: World): Goals {
  const { store, clock, log } = world;
  const running = new Map<string, Running>();
  const stop = new AbortController();
  let arriving = 0;
  let resumed = false;

  const start = (goal: Goal) => {
    const cancel = new AbortController();
    const ended = runGoal(goal, world, AbortSignal.any([cancel.signal, stop.signal]))
      .catch((error) => log.error("a goal was left by an exception", { goal: goal.id, error }))
      .finally(() => running.delete(goal.id));
    running.set(goal.id, { goal, cancel, ended });
  };

  const accept = async (goal: Goal, plan: Plan) => {
    goal.tasks = tasksOf(goal, plan);
    try {
      await store.addGoal(goal);
      await Promise.all(goal.tasks.map((task) => store.putTask(task)));
      await store.updateGoal(goal.id, "in_progress", "");
    } catch (error) {
      // The client hears that it was not taken: so it must not be done either.
      const reason = `not taken: ${messageOf(error)}`;
      endGoal(goal, "failed", reason, world).catch((cause) =>
        log.warn("a goal that was not taken could not be closed", { goal: goal.id, cause: messageOf(cause) }),
      );
      throw error;
    }
    goal.state = "in_progress";
    start(goal);
  };

  const submit = async (submission: Submission): Promise<string> => {
    const metadata = checkSubmission(submission);
    const description = submission.description.trim();
    const plan = planner.plan(description);
    const goal = goalOf({ ...submission, description }, metadata, plan, clock.now());
    log.info("goal submitted", { goal: goal.id, source: goal.source, description: description.slice(0, 200) });
    if ("reason" in plan) await store.addGoal(goal);
    else await accept(goal, plan);
    return goal.id;
  };

  return {
    async submit(submission) {
      if (!resumed) throw notYet();
      if (running.size + arriving >= unfinishedGoalsMax) throw full();
      arriving += 1;
      try {
        return await submit(submission);
      } finally {
        arriving -= 1;
      }
    },
    async find(id) {
      const goal = running.get(id)?.goal ?? (await store.find(id));
      if (goal !== undefined) return goal;
      throw new AiosError("NOT_FOUND", {
        act: "find goal",
        object: id,
        reason: "there is none",
        next: 'see "aiosctl goal list"',
      });
    },
    async list(state, limit, offset) {
      const { goals, total } = await store.list(state, limit, offset);
      return { goals: goals.map((goal) => running.get(goal.id)?.goal ?? goal), total };
    },
    async cancel(id, by) {
      const found = running.get(id);
      if (found !== undefined) {
        found.cancel.abort(new Cancelled(`cancelled by ${by}`));
        await found.ended;
      }
      const goal = found?.goal ?? (await this.find(id));
      if (goal.state === "cancelled") return;
      if (!isOver(goal.state)) throw notYet();
      throw new AiosError("FAILED_PRECONDITION", {
        act: "cancel goal",
        object: id,
        reason: `it is ${goal.state} already`,
      });
    },
    counts() {
      const goals = [...running.values()].map(({ goal }) => goal);
      const pendingTasks = goals.flatMap(({ tasks }) => tasks).filter(({ state }) => !isOver(state)).length;
      return { activeGoals: goals.length, pendingTasks };
    },
    async resume() {
      for (const goal of await takeUp(planner, world, stop.signal)) start(goal);
      resumed = true;
    },
    async end() {
      stop.abort(new Error("the orchestrator ends"));
      const all = Promise.all([...running.values()].map(({ ended }) => ended));
      await Promise.race([all, clock.sleep(endGraceMs)]);
    },
  };
}

function notYet(): AiosError {
  return new AiosError("UNAVAILABLE", {
    act: "take",
    object: "a goal",
    reason: "the goals of the last run are still being loaded from aios-memory",
    next: "try again in a moment",
  });
}

function full(): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "take",
    object: "a goal",
    reason: `${unfinishedGoalsMax} goals are unfinished`,
    next: 'wait for some, or cancel some (see "aiosctl goal list")',
  });
}
