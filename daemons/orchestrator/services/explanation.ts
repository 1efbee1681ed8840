import type { GoalExplanation } from "#proto/aios/goal_control";
import { executionIds, type Goal } from "../goal.ts";
import type { Execution, Tools } from "../tools.ts";
import { explain } from "./explain.ts";
import { taskMessage } from "./messages.ts";

/** The explanation of a goal with the calls that the ledger has of its tasks; without those while aios-tools is away. */
export async function explainGoal(goal: Goal, tools: Pick<Tools, "executions">): Promise<GoalExplanation> {
  const executions = new Map<string, readonly Execution[]>();
  const begun = goal.tasks.filter(({ tries }) => tries > 0);
  await Promise.all(
    begun.map(async (task) => {
      executions.set(task.id, await tools.executions(executionIds(task), task.id).catch(() => []));
    }),
  );
  return {
    text: explain(goal, executions),
    decisions: goal.decisions.map(({ at, situation, options, chosen, why, level, model }) => ({
      ...{ at, situation, chosen, why, level, model },
      options: options.map((option) => ({ ...option })),
    })),
    tasks: goal.tasks.map((task) => ({
      task: taskMessage(goal, task),
      executions: (executions.get(task.id) ?? []).map((one) => ({ ...one, durationMs: one.durationMs ?? 0 })),
      failures: [...task.failures],
      durationMs: task.completedAt > task.startedAt && task.startedAt > 0 ? task.completedAt - task.startedAt : 0,
    })),
  };
}
