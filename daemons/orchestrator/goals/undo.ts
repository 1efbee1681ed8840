import { messageOf } from "#lib/errors";
import { executionIds, type Goal, type Task } from "../goal.ts";
import type { Tools } from "../tools.ts";

/** Executions of a cancelled goal that can be taken back, the latest first. */
async function undoable(
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

/** How what a goal did can be taken back. */
export interface Undo {
  /** Executions that can be taken back, the latest first. */
  readonly executionIds: readonly string[];
  /** For people; empty when the goal did nothing that can. */
  readonly words: string;
}

/** How what a goal did can be taken back, as the ledger knows now; says so when that cannot be told. */
export async function undoOf(goal: Goal, tools: Pick<Tools, "executions">): Promise<Undo> {
  try {
    const found = await undoable(goal, tools);
    const executionIds = found.map(({ id }) => id);
    if (found.length === 0) return { executionIds, words: "" };
    const lines = found.map(({ id, task }) => `  ${id} ${task}`);
    const words = ["of what it did this can be taken back:", ...lines, `aiosctl rollback ${executionIds.join(" ")}`];
    return { executionIds, words: words.join("\n") };
  } catch (error) {
    return { executionIds: [], words: `what it did cannot be told now (${messageOf(error)}); see "aiosctl audit"` };
  }
}
