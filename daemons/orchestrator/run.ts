import { messageOf } from "#lib/errors";
import { runTask } from "./attempt.ts";
import { type Goal, isOver, type Task } from "./goal.ts";
import { closeTask, failTask, valuesFor } from "./outcome.ts";
import { patiently } from "./patience.ts";
import { fill } from "./template.ts";
import type { World } from "./world.ts";

/** Characters of a goal's result at most. */
const resultLengthMax = 16_384;

/** Why a goal is stopped before its end. */
export class Cancelled extends Error {
  override readonly name = "Cancelled";
}

/**
 * Runs a planned goal to its end: tasks that do not need each other at the same time, the first that fails for good ends the goal.
 * `cancel` aborted with Cancelled closes the goal as cancelled; aborted with anything else leaves all as it is, for the next start.
 */
export async function runGoal(goal: Goal, world: World, cancel: AbortSignal): Promise<void> {
  const halt = new AbortController();
  const waiting = AbortSignal.any([cancel, halt.signal]);
  const ends = new Map<string, Promise<void>>();
  const haltIfFailed = (task: Task) => {
    if (task.state === "failed") halt.abort(new Error(`the task "${task.description}" failed`));
  };
  const run = async (task: Task) => {
    await Promise.all(task.dependsOn.map((id) => ends.get(id)));
    if (isOver(task.state)) return;
    try {
      waiting.throwIfAborted();
      await runTask(goal, task, world, { waiting, running: cancel });
    } catch (error) {
      if (waiting.aborted) return;
      world.log.error("a task failed by an exception", { task: task.id, error });
      await failTask(task, `internal error: ${messageOf(error)}`, world);
    }
    haltIfFailed(task);
  };
  // A goal that is taken up again may have failed just before.
  goal.tasks.forEach(haltIfFailed);
  for (const task of goal.tasks) ends.set(task.id, run(task));
  await Promise.all(ends.values());
  if (cancel.aborted && !(cancel.reason instanceof Cancelled)) return;
  await closeGoal(goal, world, cancel);
}

async function closeGoal(goal: Goal, world: World, cancel: AbortSignal): Promise<void> {
  const failed = goal.tasks.filter(({ state }) => state === "failed");
  const left = goal.tasks.filter(({ state }) => !isOver(state));
  const cancelled = cancel.aborted && (failed.length > 0 || left.length > 0);
  const reason = cancelled ? messageOf(cancel.reason) : failed.map(failureOf).join("; ");
  for (const task of left) await closeTask(task, reason, world);
  const state = cancelled ? "cancelled" : failed.length > 0 ? "failed" : "completed";
  await endGoal(goal, state, state === "completed" ? resultOf(goal) : reason, world);
}

/** Closes a goal, durably. */
export async function endGoal(goal: Goal, state: Goal["state"], result: string, world: World): Promise<void> {
  const { store, clock, log } = world;
  const cut = result.length > resultLengthMax ? `${result.slice(0, resultLengthMax)}…` : result;
  await patiently(clock, new AbortController().signal, () => store.updateGoal(goal.id, state, cut));
  Object.assign(goal, { state, result: cut, updatedAt: clock.now() });
  // The result of a goal may be a file's content: that is not for the log.
  log.info(`goal ${state}`, { goal: goal.id, ...(state === "failed" && { reason: cut.slice(0, 500) }) });
}

function failureOf(task: Task): string {
  return `${task.description} (${task.tool}${task.agent === "" ? "" : ` by agent ${task.agent}`}): ${task.error}`;
}

function resultOf(goal: Goal): string {
  try {
    return String(fill(goal.plan.result, valuesFor(goal)));
  } catch (error) {
    return `Done; what came of it cannot be told: ${messageOf(error)}`;
  }
}
