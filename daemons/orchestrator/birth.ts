import { hash } from "node:crypto";
import { uuidv7 } from "#lib/ids";
import type { Goal, Task } from "./goal.ts";
import type { Plan, Planner } from "./procedures.ts";
import type { Submission } from "./submission.ts";
import { fill } from "./template.ts";

/** A goal as it begins: planned, or failed for the reason that there is no plan. */
export function goalOf(
  submission: Submission,
  metadata: Goal["metadata"],
  plan: ReturnType<Planner["plan"]>,
  now: number,
): Goal {
  const { description, priority, tags, source } = submission;
  const unplanned = "reason" in plan;
  const head = unplanned ? { procedure: "", parameters: {}, result: "" } : plan;
  return {
    id: uuidv7(now),
    description,
    priority,
    source,
    tags,
    metadata,
    createdAt: now,
    plan: { procedure: head.procedure, parameters: head.parameters, result: head.result },
    state: unplanned ? "failed" : "planning",
    updatedAt: now,
    result: unplanned ? plan.reason : "",
    tasks: [],
  };
}

/** The tasks of a planned goal, all pending. */
export function tasksOf(goal: Goal, plan: Plan): Task[] {
  return plan.steps.map((step, index) => ({
    id: taskId(goal.id, step.name),
    goalId: goal.id,
    index,
    step: step.name,
    description: String(fill(step.description, { parameters: plan.parameters, steps: {} })),
    tool: step.tool,
    wantedAgent: step.agent,
    template: step.input,
    expect: step.expect,
    also: step.also,
    dependsOn: step.needs.map((need) => taskId(goal.id, need)),
    createdAt: goal.createdAt,
    state: "pending",
    agent: "",
    failures: [],
    startedAt: 0,
    completedAt: 0,
    error: "",
  }));
}

/** The id of a goal's step: the goal's time, then a hash, in UUIDv7's form. Planning a goal again gives its tasks the same ids. */
function taskId(goalId: string, step: string): string {
  const digest = hash("sha256", `${goalId}/${step}`, "hex");
  return `${goalId.slice(0, 13)}-7${digest.slice(0, 3)}-8${digest.slice(3, 6)}-${digest.slice(6, 18)}`;
}
