import { hash } from "node:crypto";
import { uuidv7 } from "#lib/ids";
import { type Goal, noPlan, type PlanHead, type Task } from "../goal.ts";
import { spaces } from "../phrase.ts";
import type { Plan } from "../plan.ts";
import { fill } from "../template.ts";
import type { Submission } from "./submission.ts";

const around = new RegExp(`^[${spaces}]+|[${spaces}]+$`, "g");

/** The words of a goal, without the space around them. */
export const descriptionOf = ({ description }: Pick<Submission, "description">): string =>
  description.replaceAll(around, "");

/** A goal as it begins: taken, and not yet planned. */
export function goalOf(submission: Submission, metadata: Goal["metadata"], now: number): Goal {
  const { id = uuidv7(now), priority, tags, source, role = "", dependsOn, dedupeKey } = submission;
  return {
    id,
    description: descriptionOf(submission),
    priority,
    source,
    role,
    tags,
    metadata,
    dependsOn,
    dedupeKey,
    createdAt: now,
    plan: noPlan,
    failure: "",
    questions: [],
    decisions: [],
    state: dependsOn.length === 0 ? "planning" : "pending",
    updatedAt: now,
    result: "",
    tasks: [],
  };
}

/** The part of a plan beside its steps. */
export function headOf(plan: Plan, round: number): PlanHead {
  const { origin, procedure, level, model, declared = false, why, parameters, result } = plan;
  return { origin, procedure, level, model, declared, why, round, parameters, result };
}

/** The tasks of a goal's plan, all pending. `round`: how many plans of the goal failed before. */
export function tasksOf(goal: Goal, plan: Plan, round: number): Task[] {
  const idOf = (step: string) => taskId(goal.id, round === 0 ? step : `${round}/${step}`);
  const own = new Set(plan.steps.map(({ name }) => name));
  const first = goal.tasks.length;
  return plan.steps.map((step, at) => ({
    id: idOf(step.name),
    goalId: goal.id,
    index: first + at,
    step: step.name,
    description: String(fill(step.description, { parameters: plan.parameters, steps: {} })),
    tool: step.tool,
    wantedAgent: step.agent || targetOf(goal),
    template: step.input,
    expect: step.expect,
    also: step.also,
    // What is done already needs no waiting for.
    dependsOn: step.needs.filter((need) => own.has(need)).map(idOf),
    createdAt: goal.createdAt,
    state: "pending",
    agent: "",
    failures: [],
    tries: 0,
    waitsFor: "",
    startedAt: 0,
    completedAt: 0,
    error: "",
  }));
}

/** The agent that whoever asked for a sub task wants it done by; empty = any. */
function targetOf({ metadata, tags }: Goal): string {
  const target = metadata["target_agent"];
  return tags.includes("sub-task") && typeof target === "string" ? target : "";
}

/** The id of a goal's step: the goal's time, then a hash, in UUIDv7's form. Planning a goal again gives its tasks the same ids. */
function taskId(goalId: string, step: string): string {
  const digest = hash("sha256", `${goalId}/${step}`, "hex");
  return `${goalId.slice(0, 13)}-7${digest.slice(0, 3)}-8${digest.slice(3, 6)}-${digest.slice(6, 18)}`;
}
