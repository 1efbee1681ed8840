/**
 * By a goal a person gets no further than by themselves. A goal keeps the least role of the people who have said what
 * is to be done (who gave it, who answered, whose schedule or conversation it is; a trigger of the image has none).
 * What an operator may not call, an admin is asked about when an agent calls it for them: a package's service that runs
 * as root is defined unasked for an admin and for the machine itself, since what such a service is set to is the
 * operator's to write. Installing a package of the archive is an operator's, by a goal as by a call: its services are
 * not started by that.
 */
import { allows, type Role } from "#lib/identity/role";
import { uuidOf } from "#lib/ids";
import { beginning } from "#lib/text";
import type { JsonObject } from "./json.ts";
import type { ParameterValue } from "./phrase.ts";
import type { Level } from "./plan.ts";

/** A goal and its tasks, as the orchestrator holds them. Times are milliseconds since the epoch, 0 = not yet. */

/**
 * pending: waits for the goals it depends on. awaiting_input: waits for a person's answer. paused: a person has said to wait.
 */
export type GoalState =
  | "pending"
  | "planning"
  | "awaiting_input"
  | "in_progress"
  | "paused"
  | "completed"
  | "failed"
  | "cancelled";
export type TaskState = "pending" | "assigned" | "in_progress" | "completed" | "failed" | "cancelled";

export const goalStates: readonly GoalState[] = [
  "pending",
  "planning",
  "awaiting_input",
  "in_progress",
  "paused",
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
  /** Tries that were begun: each has its own execution id. */
  tries: number;
  /** The approval that its call waits for, or was let through by; empty = none. */
  waitsFor: string;
  startedAt: number;
  completedAt: number;
  error: string;
  /** How far its agent says that it is; not stored. */
  progress?: Progress | undefined;
}

export interface Progress {
  /** From 0 to 1. */
  readonly share: number;
  readonly message: string;
}

export interface Goal {
  readonly id: string;
  readonly description: string;
  /** 0 critical, 1 high, 2 normal, 3 low. */
  readonly priority: number;
  /** The identity that asked: "operator:alice", "agent:system", "core". */
  readonly source: string;
  /** The least role of the people who have said what is to be done; empty when no person has. */
  role: Role | "";
  readonly tags: readonly string[];
  /** Sent along by the client; an empty object when nothing was. */
  readonly metadata: JsonObject;
  /** Goals that must be completed before this one begins. */
  readonly dependsOn: readonly string[];
  /**
   * At most one open goal may have this key; empty = none. Lets a watcher submit a goal repeatedly without duplicates.
   */
  readonly dedupeKey: string;
  readonly createdAt: number;
  plan: PlanHead;
  /** The failure of its plan while another is looked for, or why it is being closed; empty = neither. */
  failure: string;
  /** Questions to the person behind it, the last one perhaps without an answer yet. */
  questions: readonly Question[];
  /** How it was planned, oldest first. */
  decisions: readonly DecisionNote[];
  state: GoalState;
  updatedAt: number;
  /** Its outcome in words, or why it failed. */
  result: string;
  tasks: Task[];
}

/** A question to the person behind a goal; `answer` is undefined until it is given. */
interface Question {
  readonly question: string;
  readonly answer?: string;
}

/** A decision on how to go on with a goal. */
export interface DecisionNote {
  readonly at: number;
  /** The matter that had to be decided. */
  readonly situation: string;
  /** The sources that were asked for a plan, in that order, each with why its plan was not taken, or "chosen". */
  readonly options: readonly Option[];
  /** The plan's origin, "ask the person", or "give up". */
  readonly chosen: string;
  readonly why: string;
  readonly level: Level;
  readonly model: string;
  /** The procedure that is followed; empty when none. */
  readonly procedure: string;
}

/** The answer of a source of plans. */
export interface Option {
  readonly source: string;
  readonly level: Level;
  /** "chosen", or why it was not. */
  readonly verdict: string;
}

/** The part of a plan beside its tasks. */
export interface PlanHead {
  /** "procedure disk-report", "model aios-bringup", "gateway"; empty while there is no plan. */
  readonly origin: string;
  /** Name of the procedure that it follows; empty when none. */
  readonly procedure: string;
  readonly level: Level;
  readonly model: string;
  /** Its steps are the image's. */
  readonly declared?: boolean;
  readonly why: string;
  /** How many plans of this goal failed before it. */
  readonly round: number;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Template of the goal's result. */
  readonly result: string;
}

/** The head of a goal that has no plan. */
export const noPlan: PlanHead = {
  origin: "",
  procedure: "",
  level: "reactive",
  model: "",
  why: "",
  round: -1,
  parameters: {},
  result: "",
};

export const isOver = (state: GoalState | TaskState): boolean =>
  state === "completed" || state === "failed" || state === "cancelled";

/** The lesser of two roles; a person's word binds what no person has said. */
export const leastOf = (one: Role | "", other: Role | ""): Role | "" =>
  one === "" || other === "" ? one || other : allows(one, other) ? other : one;

/** Whether an agent, a schedule or a trigger gave it: no person waits for its end, or is there to be asked at once. */
export const isGivenByMachine = (source: string): boolean => /^(trigger|schedule|agent):/.test(source);

/** The words of the person behind a goal. */
export const saidIn = ({ description, questions }: Pick<Goal, "description" | "questions">) => ({
  description,
  answers: questions.flatMap(({ question, answer }) => (answer === undefined ? [] : [{ question, answer }])),
});

/** The present phase of a goal, in words. */
export function phaseOf(goal: Goal): string {
  if (goal.state === "awaiting_input") return `asks: ${goal.questions.at(-1)?.question ?? ""}`;
  if (goal.state === "pending") return `waits for ${goal.dependsOn.length} other goals`;
  if (goal.state === "planning" && goal.failure !== "")
    return `looks for another plan: ${beginning(goal.failure, 200).replaceAll(/\s+/g, " ")}`;
  if (goal.state !== "in_progress") return goal.state;
  const now = goal.tasks.filter(({ state }) => state === "assigned" || state === "in_progress");
  const done = goal.tasks.filter(({ state }) => state === "completed").length;
  const doing = now.length > 0 ? now.map(doingOf).join(", ") : "waiting for an agent";
  return `${done} of ${goal.tasks.length} done: ${doing}`;
}

/** The approval that a task's call waits for, or was let through by; empty = none. */
export function approvalOf({ state, waitsFor }: Task): string {
  return isOver(state) ? "" : waitsFor;
}

/** The ids that the calls of a task are known by, the first try's first: whoever looks for one asks for it by this. */
export function executionIds({ id, tries }: Pick<Task, "id" | "tries">): string[] {
  return Array.from({ length: tries }, (_, index) => uuidOf(id, index + 1));
}

function doingOf(task: Task): string {
  const { description, progress } = task;
  const approval = approvalOf(task);
  if (approval !== "") return `${description} (waits for a person, approval ${approval})`;
  if (progress === undefined) return description;
  return `${description} (${Math.round(progress.share * 100)} %${progress.message && `, ${progress.message}`})`;
}

/** Share of the tasks that are done, percent. */
export function progressOf(goal: Goal): number {
  if (goal.state === "completed") return 100;
  if (goal.tasks.length === 0) return 0;
  const shareOf = ({ state, progress }: Task) =>
    state === "completed" ? 1 : state === "in_progress" ? progress?.share : 0;
  return (100 * goal.tasks.reduce((sum, task) => sum + (shareOf(task) ?? 0), 0)) / goal.tasks.length;
}

export function namespaceOf(tool: string): string {
  return tool.split(".")[0] ?? "";
}
