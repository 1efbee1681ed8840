import { messageOf } from "#lib/errors";
import { beginning, cut } from "#lib/text";
import { type Goal, isOver, type Task } from "../goal.ts";
import { patiently } from "../patience.ts";
import { fill } from "../template.ts";
import { runTask } from "./attempt.ts";
import { closeTask, failTask, valuesFor } from "./outcome.ts";
import type { Signals } from "./work.ts";
import type { World } from "./world.ts";

/** Characters of a goal's result at most. */
const resultLengthMax = 16_384;

/**
 * Runs the tasks of a goal: those that do not need each other at the same time. The first that fails for good lets no other begin.
 * Returns when none runs any more, also when the goal was stopped.
 */
export async function runTasks(goal: Goal, world: World, { waiting: stopped, running }: Signals): Promise<void> {
  const halt = new AbortController();
  const waiting = AbortSignal.any([stopped, halt.signal]);
  const ends = new Map<string, Promise<void>>();
  const afterwards: Promise<void>[] = [];
  const haltIfFailed = (task: Task) => {
    if (task.state === "failed") halt.abort(new Error(`the task "${task.description}" failed`));
  };
  const run = async (task: Task) => {
    await Promise.all(task.dependsOn.map((id) => ends.get(id)));
    if (isOver(task.state)) return;
    try {
      waiting.throwIfAborted();
      await runTask(goal, task, world, { waiting, running }, (work) => afterwards.push(work));
    } catch (error) {
      if (waiting.aborted) return;
      world.log.error("a task failed by an exception", { task: task.id, error });
      await failTask(task, `internal error: ${messageOf(error)}`, world);
    }
    haltIfFailed(task);
    world.changes.tell(goal);
  };
  // A goal that is taken up again may have failed just before.
  goal.tasks.forEach(haltIfFailed);
  for (const task of goal.tasks) ends.set(task.id, run(task));
  await Promise.all(ends.values());
  // A goal is closed only after its tasks' grants.
  await Promise.all(afterwards);
}

/** Closes a goal of which nothing runs any more. `cancelled`: why it is not gone on with, or "". */
export async function closeGoal(goal: Goal, world: World, cancelled = ""): Promise<void> {
  const failed = goal.tasks.filter(({ state }) => state === "failed");
  const left = goal.tasks.filter(({ state }) => !isOver(state));
  // One that was cancelled when all of it was done is done.
  const undone = failed.length > 0 || left.length > 0 || goal.tasks.length === 0 || goal.failure !== "";
  if (cancelled !== "" && undone) return await endUndone(goal, "cancelled", cancelled, world);
  if (failed.length > 0) return await endUndone(goal, "failed", failureOf(goal), world);
  await endGoal(goal, "completed", resultOf(goal), world);
}

/** Closes a goal of which nothing runs, and for the same reason the tasks that it leaves undone. */
export async function endUndone(
  goal: Goal,
  state: "failed" | "cancelled",
  reason: string,
  world: World,
): Promise<void> {
  const left = goal.tasks.filter((task) => !isOver(task.state));
  // First: who takes it up after a crash in between must not find a goal whose tasks are all over, and call it completed.
  if (left.length > 0) await putGoal(goal, { failure: shortOf(reason) }, world);
  for (const task of left) await closeTask(task, reason, world);
  await endGoal(goal, state, reason, world);
}

/** Closes a goal, durably. */
export async function endGoal(goal: Goal, state: Goal["state"], result: string, world: World): Promise<void> {
  const short = shortOf(result);
  await putGoal(goal, { state, result: short, failure: "" }, world);
  // The result of a goal may be a file's content: that is not for the log.
  world.log.info(`goal ${state}`, { goal: goal.id, ...(state === "failed" && { reason: beginning(short, 500) }) });
  world.ended(goal);
}

const shortOf = (text: string): string => cut(text, resultLengthMax);

/** Changes a goal once its new form is stored, however long the store is away. */
export async function putGoal(goal: Goal, next: Partial<Goal>, { store, clock, changes }: World): Promise<void> {
  const whole = { ...goal, ...next, updatedAt: clock.now() };
  await patiently(clock, new AbortController().signal, () => store.putGoal(whole));
  Object.assign(goal, whole);
  changes.tell(goal);
}

/** What of a goal's plan has failed, in words; empty when nothing has. */
export function failureOf({ tasks }: Goal): string {
  const failed = tasks.filter(({ state }) => state === "failed");
  const by = ({ agent }: Task) => (agent === "" ? "" : ` by agent ${agent}`);
  return shortOf(failed.map((task) => `${task.description} (${task.tool}${by(task)}): ${task.error}`).join("; "));
}

function resultOf(goal: Goal): string {
  try {
    return String(fill(goal.plan.result, valuesFor(goal)));
  } catch (error) {
    return `Done; what came of it cannot be told: ${messageOf(error)}`;
  }
}
