import { messageOf } from "#lib/errors";
import { executionIds, type Goal, type Task } from "../goal.ts";
import type { Tools } from "../tools.ts";

/** Executions of a cancelled goal that can be taken back, the latest first. */
export async function undoable(
  goal: Goal,
  tools: Pick<Tools, "executions">,
): Promise<{ readonly id: string; readonly task: string }[]> {
  const begun = goal.tasks.filter(({ tries }) => tries > 0);
  const found = await Promise.all(
    begun.map(async (task: Task) => {
      const executions = await tools.executions(executionIds(task), task.id);
      return executions.filter(({ reversible }) => reversible).map(({ id }) => ({ id, task: task.description }));
    }),
  );
  return found.flat().toReversed();
}

/** How what a goal did can be taken back, in words; empty when it did nothing that can. */
export async function undoWords(goal: Goal, tools: Pick<Tools, "executions">): Promise<string> {
  try {
    const found = await undoable(goal, tools);
    if (found.length === 0) return "";
    const lines = found.map(({ id, task }) => `  ${id} ${task}`);
    return [
      "of what it did this can be taken back:",
      ...lines,
      `aiosctl rollback ${found.map(({ id }) => id).join(" ")}`,
    ].join("\n");
  } catch (error) {
    return `what it did cannot be told now (${messageOf(error)}); see "aiosctl audit"`;
  }
}
