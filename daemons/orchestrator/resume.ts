import { messageOf } from "#lib/errors";
import { tasksOf } from "./birth.ts";
import { type Goal, isOver, type Task } from "./goal.ts";
import { failTask, settleLost } from "./outcome.ts";
import { patiently } from "./patience.ts";
import type { Planner } from "./procedures.ts";
import { endGoal } from "./run.ts";
import type { World } from "./world.ts";

/** Ends what agents were granted before: no task is running. */
export async function revokeAll(world: World, agents: readonly string[], signal: AbortSignal): Promise<void> {
  await Promise.all(agents.map((agent) => patiently(world.clock, signal, () => world.tools.revokeAll(agent))));
}

/** Makes a goal of the last run ready to go on. False when it was closed instead: its reason says why. */
export async function takeUp(goal: Goal, planner: Planner, world: World, signal: AbortSignal): Promise<boolean> {
  try {
    goal.tasks = await patiently(world.clock, signal, () => world.store.tasks(goal.id));
    if (goal.state !== "in_progress") await replan(goal, planner, world, signal);
    for (const task of goal.tasks) await settle(task, world, signal);
  } catch (error) {
    signal.throwIfAborted();
    await endGoal(goal, "failed", `it cannot be taken up again: ${messageOf(error)}`, world);
  }
  if (!isOver(goal.state)) world.log.info("goal taken up again", { goal: goal.id });
  return !isOver(goal.state);
}

/** A goal that was stored but not planned to the end is planned anew: its tasks get the same ids, and none has run. */
async function replan(goal: Goal, planner: Planner, world: World, signal: AbortSignal): Promise<void> {
  const { store, clock } = world;
  const plan = planner.plan(goal.description);
  if ("reason" in plan) return await endGoal(goal, "failed", plan.reason, world);
  goal.tasks = tasksOf(goal, plan);
  await Promise.all(goal.tasks.map((task) => patiently(clock, signal, () => store.putTask(task))));
  await patiently(clock, signal, () => store.updateGoal(goal.id, "in_progress", ""));
  goal.state = "in_progress";
}

/**
 * Decides about a task that was with an agent when the orchestrator ended. Its grants are revoked and its agent has ended,
 * so it cannot begin any more: it is tried again where that is harmless, else the ledger decides.
 */
async function settle(task: Task, world: World, signal: AbortSignal): Promise<void> {
  if (task.state !== "assigned" && task.state !== "in_progress") return;
  const tool = await patiently(world.clock, signal, () => world.tools.find(task.tool));
  if (tool === undefined) await failTask(task, `there is no tool ${task.tool} on this machine any more`, world);
  else await settleLost(task, tool, "the orchestrator ended while the task was running", world);
}
