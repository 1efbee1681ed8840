import { messageOf } from "#lib/errors";
import { tasksOf } from "./birth.ts";
import { type Goal, isOver, type Task } from "./goal.ts";
import { failTask, resumeLost } from "./outcome.ts";
import { patiently } from "./patience.ts";
import type { Planner } from "./procedures.ts";
import { endGoal } from "./run.ts";
import type { World } from "./world.ts";

/**
 * Makes the goals of the last run ready to go on; those that cannot are closed with the reason.
 * Whatever agents were still granted is ended first: a grant is for a task, and a goal is closed only after its tasks' grants,
 * so the agents to ask for are those of the goals that are not.
 */
export async function takeUp(planner: Planner, world: World, signal: AbortSignal): Promise<Goal[]> {
  const { store, tools, clock, log } = world;
  const goals = await patiently(clock, signal, () => store.unfinished());
  const eachOf = (act: (goal: Goal) => Promise<void>) =>
    Promise.all(goals.map((goal) => orClose(goal, act, world, signal)));
  await eachOf(async (goal) => {
    goal.tasks = await patiently(clock, signal, () => store.tasks(goal.id));
  });
  const agents = new Set(goals.flatMap(({ tasks }) => tasks.map(({ agent }) => agent)).filter((agent) => agent !== ""));
  await Promise.all([...agents].map((agent) => patiently(clock, signal, () => tools.revokeAll(agent))));
  await eachOf(async (goal) => {
    if (goal.state !== "in_progress") await replan(goal, planner, world, signal);
    for (const task of goal.tasks) await settle(task, world, signal);
  });
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
  else await resumeLost(task, tool, world);
}
