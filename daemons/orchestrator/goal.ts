/** A goal and its tasks, as the orchestrator holds them. Times are milliseconds since the epoch, 0 = not yet. */

export type GoalState = "pending" | "planning" | "in_progress" | "completed" | "failed" | "cancelled";
export type TaskState = "pending" | "assigned" | "in_progress" | "completed" | "failed" | "cancelled";

export const goalStates: readonly GoalState[] = [
  "pending",
  "planning",
  "in_progress",
  "completed",
  "failed",
  "cancelled",
];
export const taskStates: readonly TaskState[] = [
  "pending",
  "assigned",
  "in_progress",
  "completed",
  "failed",
  "cancelled",
];

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export interface Task {
  readonly id: string;
  readonly goalId: string;
  /** Place in the plan, from 0: a task depends only on tasks before it. */
  readonly index: number;
  /** Name of the step in its procedure, by which templates refer to its output. */
  readonly step: string;
  readonly description: string;
  readonly tool: string;
  /** The agent that the plan asks for; empty = any whose namespaces cover the tool. */
  readonly wantedAgent: string;
  /** Input of the tool, its texts being templates (template.ts). */
  readonly template: JsonObject;
  /** Templates that fields of the output must equal for the task to count as done. */
  readonly expect: JsonObject;
  readonly dependsOn: readonly string[];
  /** Capabilities that the plan grants beside those that every call of the tool needs. */
  readonly also: readonly string[];
  readonly createdAt: number;
  state: TaskState;
  /** The agent that has it or had it last; empty = none yet. */
  agent: string;
  /** Input as it was given to the tool; undefined until then. */
  input?: JsonObject | undefined;
  output?: JsonObject | undefined;
  /** Why each attempt so far did not succeed, oldest first. */
  failures: readonly string[];
  startedAt: number;
  completedAt: number;
  error: string;
}

export interface Goal {
  readonly id: string;
  readonly description: string;
  /** 0 critical, 1 high, 2 normal, 3 low. */
  readonly priority: number;
  /** The identity that asked: "operator:alice", "agent:system", "core". */
  readonly source: string;
  readonly tags: readonly string[];
  /** What the client sent along; an empty object when nothing. */
  readonly metadata: JsonObject;
  readonly createdAt: number;
  readonly plan: PlanHead;
  state: GoalState;
  updatedAt: number;
  /** What came of it, or why it failed. */
  result: string;
  tasks: Task[];
}

/** What a plan says beside its tasks. */
export interface PlanHead {
  /** Name of the procedure; empty when none covers the goal. */
  readonly procedure: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** Template of the goal's result. */
  readonly result: string;
}

export const isOver = (state: GoalState | TaskState): boolean =>
  state === "completed" || state === "failed" || state === "cancelled";

/** What the goal is doing, in words. */
export function phaseOf(goal: Goal): string {
  if (goal.state !== "in_progress") return goal.state;
  const now = goal.tasks.filter(({ state }) => state === "assigned" || state === "in_progress");
  const done = goal.tasks.filter(({ state }) => state === "completed").length;
  const doing = now.length > 0 ? now.map(({ description }) => description).join(", ") : "waiting for an agent";
  return `${done} of ${goal.tasks.length} done: ${doing}`;
}

/** Share of the tasks that are done, percent. */
export function progressOf(goal: Goal): number {
  if (goal.state === "completed") return 100;
  if (goal.tasks.length === 0) return 0;
  return (100 * goal.tasks.filter(({ state }) => state === "completed").length) / goal.tasks.length;
}

export function namespaceOf(tool: string): string {
  return tool.split(".")[0] ?? "";
}
