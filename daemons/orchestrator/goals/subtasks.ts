import { AiosError } from "#lib/errors";
import type { Goal, Task } from "../goal.ts";
import type { Submission } from "./submission.ts";

/** Most sub tasks below each other, and of one task. */
const depthMax = 3;
const subTasksMax = 5;

/** An agent's wish for a sub task, while it works on a task. */
interface SubTaskWish {
  readonly agent: string;
  readonly description: string;
  /** The agent that should do it; empty = any. */
  readonly targetAgent: string;
}

/** The goal that a sub task becomes. `siblings`: goals that the same task has asked for already. */
export function subTaskGoal(
  { goal, task }: { goal: Goal; task: Task },
  wish: SubTaskWish,
  siblings: number,
): Submission {
  const depth = depthOf(goal) + 1;
  const refuse = (reason: string) =>
    new AiosError("FAILED_PRECONDITION", { act: "take a sub task of", object: task.id, reason });
  if (task.agent !== wish.agent || (task.state !== "assigned" && task.state !== "in_progress")) {
    throw refuse(`it is not running with agent ${wish.agent}`);
  }
  if (depth > depthMax) throw refuse(`it is a sub task itself, ${depthMax} deep, which is the most`);
  if (siblings >= subTasksMax) throw refuse(`it has asked for ${subTasksMax}, which is the most`);
  const metadata = {
    parent_goal: goal.id,
    parent_task: task.id,
    sub_task_depth: depth,
    ...(wish.targetAgent !== "" && { target_agent: wish.targetAgent }),
  };
  return {
    description: wish.description,
    priority: goal.priority,
    tags: ["sub-task"],
    metadata: JSON.stringify(metadata),
    source: `agent:${wish.agent}`,
    role: goal.role,
    dependsOn: [],
    dedupeKey: "",
  };
}

/** How deep a goal is below the one that a person gave. */
function depthOf({ metadata, tags }: Goal): number {
  const depth = metadata["sub_task_depth"];
  return tags.includes("sub-task") && typeof depth === "number" ? depth : 0;
}
