import { AiosError } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import { executionHeader } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { type Goal, type GoalState, isGivenByMachine, isOver, leastOf, type Progress, type Task } from "../goal.ts";
import { type Capacity, openCapacity } from "./capacity.ts";
import { changeGoal } from "./changes.ts";
import { keepOpenGoals, type OpenGoal, type OpenGoals } from "./open-goals.ts";
import { descriptionOf, goalOf } from "./records.ts";
import type { GoalPage, ListPlace } from "./store.ts";
import { checkSubmission, type Submission } from "./submission.ts";
import { waitsOf } from "./waits.ts";
import type { World } from "./world.ts";
import { Held } from "./world.ts";

/** Most characters of an answer to a question. */
const answerLengthMax = 4_096;

export interface Goals {
  /**
   * Takes a goal: stored when this resolves with its id. One with the dedupe key of an unfinished goal is that goal, among people's
   * goals and among those of each agent, schedule and trigger; one with the id of a goal is that goal, over or not. Throws
   * INVALID_ARGUMENT, also for the id of another goal.
   */
  submit(submission: Submission): Promise<string>;
  /** A goal with its tasks as they are now. Throws NOT_FOUND. */
  find(id: string): Promise<Goal>;
  list(state: GoalState | "", limit: number, from: ListPlace): Promise<GoalPage>;
  /** Stops a goal; resolves when it is closed. Throws NOT_FOUND, FAILED_PRECONDITION when it is over already. */
  cancel(id: string, by: string): Promise<void>;
  /** Begins none of its tasks any more; those that run are ended in order. FAILED_PRECONDITION when it is not at work. */
  pause(id: string): Promise<void>;
  /** Goes on with a paused goal. */
  unpause(id: string): Promise<void>;
  /** The answer of a person of this role to what the goal asks. FAILED_PRECONDITION when it asks nothing. */
  answer(id: string, text: string, role: Role | ""): Promise<void>;
  /** While held no goal is worked on: what runs is stopped where it is, and settled by the ledger when it goes on. */
  hold(reason: string): Promise<void>;
  release(): Promise<void>;
  /** Called after each change of a goal or of one of its tasks. Returns what ends it. */
  onChange(listener: (goal: Goal) => void): () => void;
  /** The task of a goal that is not over, with its goal; undefined when there is none. */
  holder(taskId: string): { goal: Goal; task: Task } | undefined;
  /** How many unfinished goals are sub tasks of a task. */
  childrenOf(taskId: string): number;
  /** Notes how far an agent says that its task is. Throws NOT_FOUND when it is not running with that agent. */
  progress(agent: string, taskId: string, progress: Progress): void;
  counts(): { activeGoals: number; pendingTasks: number };
  /** The matters for which goals wait for a person, each with the command to answer or to look. */
  waiting(): string[];
  /** Closes what has asked for too long and was given by no person, until `signal` is aborted. */
  sweep(signal: AbortSignal): Promise<void>;
  /** Takes up what an earlier run left unfinished; goals are taken once this has resolved. */
  resume(): Promise<void>;
  /** Stops working on goals, leaving all as it is for the next start. Resolves when it has stopped, within a second. */
  end(): Promise<void>;
}

/** The goals of this machine. */
export function openGoals(world: World): Goals {
  const { store } = world;
  const unfinished = keepOpenGoals(world);
  const { open } = unfinished;
  const capacity = openCapacity(unfinished, world);
  const find = async (id: string): Promise<Goal> => {
    const goal = open.get(id)?.goal ?? (await store.find(id));
    if (goal !== undefined) return goal;
    throw new AiosError("NOT_FOUND", {
      act: "find goal",
      object: id,
      reason: "there is none",
      next: 'see "aiosctl goal list"',
    });
  };
  return {
    submit: taker(unfinished, capacity, find, world),
    find,
    async list(state, limit, from) {
      const page = await store.list(state, limit, from);
      return { ...page, goals: page.goals.map((goal) => open.get(goal.id)?.goal ?? goal) };
    },
    ...controls(unfinished, find, world),
    ...views(unfinished, world),
    sweep: capacity.sweep,
    hold: unfinished.hold,
    release: unfinished.release,
    resume: unfinished.resume,
    end: unfinished.end,
  };
}

type Find = Goals["find"];

/** Takes goals. */
function taker(unfinished: OpenGoals, capacity: Capacity, find: Find, { store, clock, log }: World): Goals["submit"] {
  const { open } = unfinished;
  const isTwin = ({ dedupeKey, source }: Submission, goal: Goal) =>
    dedupeKey !== "" && goal.dedupeKey === dedupeKey && keySpaceOf(goal.source) === keySpaceOf(source);

  return async (submission) => {
    if (!unfinished.resumed()) throw notYet();
    const metadata = checkSubmission(submission);
    for (const id of submission.dependsOn) await find(id);
    const { id: wanted, source } = submission;
    const given = wanted === undefined ? undefined : (open.get(wanted)?.goal ?? (await store.find(wanted)));
    if (given !== undefined) return sameGoal(given, submission);
    for (;;) {
      const known = [...open.values()].find(({ goal }) => goal.id === wanted || isTwin(submission, goal));
      if (known !== undefined) return known.goal.id === wanted ? sameGoal(known.goal, submission) : known.goal.id;
      if (capacity.hasPlace(source)) break;
      await capacity.makePlace(source);
    }
    const goal = goalOf(submission, metadata, clock.now());
    log.info("goal submitted", { goal: goal.id, source: goal.source, description: beginning(goal.description, 200) });
    // Before it is stored: of two with the same key the second must see the first.
    const one = unfinished.admit(goal);
    try {
      await store.putGoal(goal);
    } catch (error) {
      open.delete(goal.id);
      throw error;
    }
    unfinished.start(one);
    return goal.id;
  };
}

/** The id of a goal that is asked for again. Throws INVALID_ARGUMENT when it is another one. */
function sameGoal({ id, source, description }: Goal, submission: Submission): string {
  if (source === submission.source && description === descriptionOf(submission)) return id;
  throw new AiosError(
    "INVALID_ARGUMENT",
    `submit goal: ${executionHeader}: ${id} is another goal's id; choose your own`,
  );
}

/** The givers that share keys: people among themselves, and nobody else. */
const keySpaceOf = (source: string) => (isGivenByMachine(source) ? source : "");

/** The acts of a person on a goal that is there. */
function controls(
  unfinished: OpenGoals,
  find: Find,
  world: World,
): Pick<Goals, "cancel" | "pause" | "unpause" | "answer"> {
  const { open } = unfinished;

  const found = async (id: string): Promise<{ one: OpenGoal | undefined; goal: Goal }> => {
    const one = open.get(id);
    if (one === undefined && !unfinished.resumed()) throw notYet();
    return { one, goal: one?.goal ?? (await find(id)) };
  };
  /** Goes on with a goal that is in this state: of two who want that at once the second finds it in another. */
  const claim = async (id: string, act: string, state: GoalState, next: (goal: Goal) => Partial<Goal>) => {
    const { one, goal } = await found(id);
    if (one === undefined) throw mustBe(goal, act, state);
    await unfinished.inTurn(one, async () => {
      if (goal.state !== state) throw mustBe(goal, act, state);
      await changeGoal(goal, next(goal), world, "none");
      unfinished.start(one);
    });
  };

  return {
    async cancel(id, by) {
      const one = open.get(id);
      if (one !== undefined) await unfinished.cancel(one, `cancelled by ${by}`);
      const goal = one?.goal ?? (await find(id));
      if (goal.state === "cancelled") return;
      if (!isOver(goal.state)) throw notYet();
      throw new AiosError("FAILED_PRECONDITION", {
        act: "cancel goal",
        object: id,
        reason: `it is ${goal.state} already`,
      });
    },
    async pause(id) {
      const { one, goal } = await found(id);
      const atWork: GoalState[] = ["pending", "planning", "in_progress"];
      if (one === undefined || !atWork.includes(goal.state)) throw mustBe(goal, "pause", ...atWork);
      one.stopNew.abort(new Held("paused"));
      await one.work;
    },
    unpause: (id) =>
      claim(id, "resume", "paused", ({ plan, failure }) => ({
        state: failure !== "" ? "planning" : plan.round < 0 ? "pending" : "in_progress",
      })),
    async answer(id, text, role) {
      const answer = text.trim();
      if (answer === "" || answer.length > answerLengthMax) {
        throw new AiosError("INVALID_ARGUMENT", `answer goal ${id}: answer: 1 to ${answerLengthMax} characters`);
      }
      await claim(id, "answer", "awaiting_input", ({ questions, role: before }) => ({
        role: leastOf(before, role),
        questions: questions.map((asked) => (asked.answer === undefined ? { ...asked, answer } : asked)),
        state: "planning",
      }));
    },
  };
}

/** Views of the goals that are not over. */
function views(
  { open }: OpenGoals,
  world: World,
): Pick<Goals, "holder" | "childrenOf" | "progress" | "onChange" | "counts" | "waiting"> {
  const holder: Goals["holder"] = (taskId) => {
    for (const { goal } of open.values()) {
      const task = goal.tasks.find(({ id }) => id === taskId);
      if (task !== undefined) return { goal, task };
    }
    return undefined;
  };
  return {
    holder,
    childrenOf: (taskId) =>
      [...open.values()].filter(({ goal: { metadata } }) => metadata["parent_task"] === taskId).length,
    progress(agent, taskId, progress) {
      const { goal, task } = holder(taskId) ?? {};
      if (goal === undefined || task?.agent !== agent || task.state !== "in_progress") {
        throw new AiosError("NOT_FOUND", `note progress of task ${taskId}: it is not running with agent ${agent}`);
      }
      task.progress = progress;
      world.changes.tell(goal);
    },
    onChange: (listener) => world.changes.listen(listener),
    counts() {
      const all = [...open.values()].map(({ goal }) => goal);
      const pendingTasks = all.flatMap(({ tasks }) => tasks).filter(({ state }) => !isOver(state)).length;
      return { activeGoals: all.length, pendingTasks };
    },
    waiting: () => [...open.values()].flatMap(({ goal }) => waitsOf(goal)),
  };
}

function mustBe(goal: Goal, act: string, ...states: GoalState[]): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: `${act} goal`,
    object: goal.id,
    reason: `it is ${goal.state}`,
    next: `only a goal that is ${states.join(" or ")} can be`,
  });
}

function notYet(): AiosError {
  return new AiosError("UNAVAILABLE", {
    act: "take",
    object: "a goal",
    reason: "the goals of the last run are still being loaded from aios-memory",
    next: "try again in a moment",
  });
}
