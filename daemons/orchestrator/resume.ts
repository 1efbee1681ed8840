import type { Goal } from "./goal.ts";
import { failTask, settleLost } from "./outcome.ts";
import { patiently } from "./patience.ts";
import type { World } from "./world.ts";

/**
 * Decides about the tasks that were with an agent when the orchestrator ended. Their grants are revoked and their agents have ended,
 * so none can begin any more; each is tried again where that is harmless, else the ledger decides.
 */
export async function resumeTasks(goal: Goal, world: World, signal: AbortSignal): Promise<void> {
  for (const task of goal.tasks) {
    if (task.state !== "assigned" && task.state !== "in_progress") continue;
    const tool = await patiently(world.clock, signal, () => world.tools.find(task.tool));
    if (tool === undefined) await failTask(task, `there is no tool ${task.tool} on this machine any more`, world);
    else await settleLost(task, tool, "the orchestrator ended while the task was running", world);
  }
}
