import { messageOf } from "#lib/errors";
import { type Goal, isOver, type Task } from "../goal.ts";
import { runTask } from "./attempt.ts";
import { failTask } from "./outcome.ts";
import type { Signals, World } from "./world.ts";

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
