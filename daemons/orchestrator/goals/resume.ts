import { messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { type Goal, isOver, type Task } from "../goal.ts";
import { patiently } from "../patience.ts";
import { endGoal } from "./closing.ts";
import { failTask, resumeLost } from "./outcome.ts";
import type { World } from "./world.ts";

/**
 * Makes the goals of the last run ready to go on; those that cannot are closed with the reason.
 * Whatever agents were still granted is ended first: a grant is for a task, and a goal is closed only after its tasks' grants,
 * so the agents to ask for are those of the goals that are not.
 */
export async function takeUp(world: World, signal: AbortSignal): Promise<Goal[]> {
  const { store, tools, clock, log } = world;
  const goals = await patiently(clock, signal, () => store.unfinished());
  const eachOf = (act: (goal: Goal) => Promise<void>) =>
    Promise.all(goals.map((goal) => orClose(goal, act, world, signal)));
  await eachOf(async (goal) => {
    goal.tasks = await patiently(clock, signal, () => store.tasks(goal.id));
  });
  const agents = new Set(goals.flatMap(({ tasks }) => tasks.map(({ agent }) => agent)).filter((agent) => agent !== ""));
  await Promise.all(
    [...agents].map((agent) => patiently(clock, signal, () => tools.revokeAll(uuidv7(clock.now()), agent))),
  );
  await eachOf((goal) => settleTasks(goal, world, signal));
  const ready = goals.filter(({ state }) => !isOver(state));
  for (const { id } of ready) log.info("goal taken up again", { goal: id });
  return ready;
}

/** Does something for a goal, or closes the goal with the reason why that could not be done. */
async function orClose(
  goal: Goal,
  act: (goal: Goal) => Promise<void>,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  if (isOver(goal.state)) return;
  try {
    await act(goal);
  } catch (error) {
    signal.throwIfAborted();
    await endGoal(goal, "failed", `it cannot be taken up again: ${messageOf(error)}`, world);
  }
}

/** Decides about the tasks that were with an agent when their goal was left. */
export async function settleTasks(goal: Goal, world: World, signal: AbortSignal): Promise<void> {
  for (const task of goal.tasks) await settle(goal, task, world, signal);
}

/**
 * Decides about a task that was with an agent when its goal was left: its grants are revoked, and its call is asked for by its id.
 */
async function settle(goal: Goal, task: Task, world: World, signal: AbortSignal): Promise<void> {
  if (task.state !== "assigned" && task.state !== "in_progress") return;
  const tool = await patiently(world.clock, signal, () => world.tools.find(task.tool));
  if (tool === undefined) await failTask(task, `there is no tool ${task.tool} on this machine any more`, world);
  else await resumeLost(goal, task, tool, world);
}
