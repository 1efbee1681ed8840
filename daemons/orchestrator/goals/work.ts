/**
 * A plan that fails half-way is a goal in planning again. What is done stays done, the sources are asked with what has
 * failed, and what comes of it is what comes of any planning: a plan, at most two more times, a question to the person,
 * or the end, with what has failed as the reason. What has failed is stored before another plan is looked for: a crash
 * in between does nothing again that is done. What a trigger, a schedule or an agent gave asks nobody then: its kind
 * would wait for the answer too.
 *
 * The next step does not wait for the last one's revocation. It begins when the report is stored; the goal is closed
 * when all grants are ended, and a task that is tried again begins only after that.
 */
import { messageOf } from "#lib/errors";
import { type Goal, isGivenByMachine, isOver, type Option, saidIn, type Task } from "../goal.ts";
import { patiently } from "../patience.ts";
import type { Draft, Objective, Plan } from "../plan.ts";
import { noteOf } from "../plans/index.ts";
import { changeGoal } from "./changes.ts";
import { closeGoal, endGoal, endUndone, failureOf } from "./closing.ts";
import { closeTask } from "./outcome.ts";
import { headOf, tasksOf } from "./records.ts";
import { runTasks } from "./run.ts";
import { asking } from "./waits.ts";
import { Cancelled, type Signals, type World } from "./world.ts";

/** At most this many plans follow one that has failed half-way. */
const replansMax = 2;

/**
 * Works on a goal until it is over, or waits for a person, or is stopped: then it is left so that it can be gone on with.
 * `prerequisites` resolves when the goals that it depends on are over, with why it cannot be done, or "".
 */
export async function workOn(
  goal: Goal,
  world: World,
  signals: Signals,
  prerequisites: (goal: Goal) => Promise<string>,
): Promise<void> {
  try {
    // It was being closed when the orchestrator died.
    if (goal.state === "in_progress" && goal.failure !== "")
      return await endUndone(goal, "failed", goal.failure, world);
    if (goal.state === "pending") await begin(goal, world, signals.waiting, prerequisites);
    for (;;) {
      if (goal.state === "planning") await plan(goal, world, signals.waiting);
      if (goal.state !== "in_progress") return;
      await runTasks(goal, world, signals);
      signals.waiting.throwIfAborted();
      const failure = failureOf(goal);
      if (failure === "" || goal.plan.round >= replansMax) return await closeGoal(goal, world);
      await changeGoal(goal, { state: "planning", failure }, world);
    }
  } catch (error) {
    if (!signals.waiting.aborted) return await endUndone(goal, "failed", `internal error: ${messageOf(error)}`, world);
    await leave(goal, signals, world);
  }
}

/** A goal that was stopped: closed when it was cancelled, paused when a person said so, else as it is. */
async function leave(goal: Goal, { waiting, running }: Signals, world: World): Promise<void> {
  if (isOver(goal.state)) return;
  if (running.reason instanceof Cancelled) return await closeGoal(goal, world, messageOf(running.reason));
  // Held for all goals alike: that is not a state of this one.
  if (running.aborted) return;
  await changeGoal(goal, { state: "paused" }, world);
  world.log.info("goal paused", { goal: goal.id, reason: messageOf(waiting.reason) });
}

async function begin(
  goal: Goal,
  world: World,
  waiting: AbortSignal,
  prerequisites: (goal: Goal) => Promise<string>,
): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    waiting.addEventListener("abort", () => reject(waiting.reason), { once: true });
  });
  const unmet = await Promise.race([prerequisites(goal), aborted]);
  if (unmet === "") await changeGoal(goal, { state: "planning" }, world);
  else await endGoal(goal, "failed", unmet, world);
}

/** Plans a goal, again when its plan has failed half-way, or closes it for the reason why there is no plan, or asks. */
async function plan(goal: Goal, world: World, signal: AbortSignal): Promise<void> {
  const { failure } = goal;
  const { draft: given, options } = await world.planner.plan(objectiveOf(goal), signal);
  signal.throwIfAborted();
  const draft = failure === "" ? given : withoutQuestion(goal, given);
  decide(goal, failure === "" ? "a plan is wanted" : failure, options, draft, world);
  if ("question" in draft) {
    const questions = [...goal.questions, { question: draft.question }];
    await changeGoal(goal, { state: "awaiting_input", questions }, world);
    return world.waits(goal, asking(goal));
  }
  if ("steps" in draft) return await follow(goal, draft, world, signal);
  // What has failed says more than that nothing else is known.
  await endUndone(goal, "failed", failure || draft.reason, world);
}

/**
 * Makes a question a failure for a goal that the machine gave to itself: while it waited for an answer, nothing else
 * would be done about the matter.
 */
function withoutQuestion({ source }: Goal, draft: Draft): Draft {
  if (!("question" in draft) || !isGivenByMachine(source)) return draft;
  return { reason: `nobody is there to answer: ${draft.question}` };
}

/** Notes what was decided: with the goal, which is stored by what follows from it, and in the log of decisions. */
function decide(goal: Goal, situation: string, options: readonly Option[], draft: Draft, world: World): void {
  goal.decisions = [...goal.decisions, noteOf(situation, options, draft, world.clock.now())];
  world.decided({ goal, situation, options, draft });
}

/** Takes a plan: its tasks are stored before the goal says that it is being worked on. */
async function follow(goal: Goal, draft: Plan, world: World, signal: AbortSignal): Promise<void> {
  const { store, clock } = world;
  const round = goal.plan.round + 1;
  const tasks = tasksOf(goal, draft, round);
  const kept = new Set(tasks.map(({ id }) => id));
  const earlier = await patiently(clock, signal, () => store.tasks(goal.id));
  // Of a plan that was stored in part, or has failed half-way, and is not followed any more.
  const replaced = earlier.filter(({ id, state }) => !kept.has(id) && state !== "completed");
  for (const task of replaced) await replace(task, world);
  await Promise.all(tasks.map((task) => patiently(clock, signal, () => store.putTask(task))));
  goal.tasks = [...earlier.filter(({ id }) => !kept.has(id)).map((task) => find(replaced, task)), ...tasks];
  await changeGoal(goal, { state: "in_progress", plan: headOf(draft, round), failure: "" }, world);
}

const find = (replaced: readonly Task[], task: Task): Task => replaced.find(({ id }) => id === task.id) ?? task;

async function replace(task: Task, world: World): Promise<void> {
  if (task.state === "cancelled") return;
  const before = task.state === "failed" ? `it had failed: ${task.error}` : "it had not begun";
  await closeTask(task, `another plan is followed; ${before}`, world);
}

function objectiveOf(goal: Goal): Objective {
  const done = goal.tasks.filter(({ state }) => state === "completed");
  return {
    goalId: goal.id,
    ...saidIn(goal),
    done: done.map(({ step, tool, input, output }) => ({ step, tool, input: input ?? {}, output: output ?? {} })),
    planned: goal.tasks.map(({ tool, template }) => ({ tool, input: template })),
    failure: goal.failure,
  };
}
