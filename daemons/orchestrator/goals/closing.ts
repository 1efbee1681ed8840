import { messageOf } from "#lib/errors";
import { beginning, cut } from "#lib/text";
import { type Goal, isOver, type Task } from "../goal.ts";
import { fill } from "../template.ts";
import { changeGoal } from "./changes.ts";
import { closeTask, valuesFor } from "./outcome.ts";
import type { World } from "./world.ts";

/** Characters of a goal's result at most. */
const resultLengthMax = 16_384;

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
  if (left.length > 0) await changeGoal(goal, { failure: shortOf(reason) }, world);
  for (const task of left) await closeTask(task, reason, world);
  await endGoal(goal, state, reason, world);
}

/** Closes a goal, durably. */
export async function endGoal(goal: Goal, state: Goal["state"], result: string, world: World): Promise<void> {
  const short = shortOf(result);
  await changeGoal(goal, { state, result: short, failure: "" }, world);
  // The result of a goal may be a file's content: that is not for the log.
  world.log.info(`goal ${state}`, { goal: goal.id, ...(state === "failed" && { reason: beginning(short, 500) }) });
  world.ended(goal);
}

const shortOf = (text: string): string => cut(text, resultLengthMax);

/** The failed tasks of a goal, in words; empty when there is none. */
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
