import type { Goal, Task } from "#proto/aios/common";
import type { GoalView } from "#proto/aios/goal_control";
import { columns } from "../../out.ts";
import { count, duration } from "../../words.ts";

/** The sign before a task. */
const marks: Readonly<Record<string, string>> = {
  pending: "·",
  assigned: "·",
  in_progress: "▶",
  completed: "✓",
  failed: "✗",
  cancelled: "-",
};

/** A goal with its plan as a tree: each task under the one it waits for longest. `runningMs`: how long a task has run so far. */
export function treeLines(view: GoalView, runningMs: (task: Task) => number): string[] {
  const { goal, tasks } = view;
  const lines = [
    `goal ${goal?.id ?? ""}: ${goal?.description ?? ""}`,
    `${stateLine(goal, view)}${tasks.length > 0 ? `, ${Math.round(view.progressPercent)} % done` : ""}`,
  ];
  const plan = planLine(view);
  if (plan !== "") lines.push(plan);
  const rows = arrange(tasks).map(({ task, before }) => [
    `${before}${marks[task.status] ?? "?"} ${task.description}`,
    task.assignedAgent || "-",
    task.requiredTools.join(" ") || "-",
    words(task.status),
    durationOf(task, runningMs(task)),
    remarkOf(task),
  ]);
  if (rows.length > 0) lines.push(...columns(["task", "agent", "tool", "state", "time", ""], rows));
  lines.push(...questionLines(view));
  if (isOver(goal?.status) && view.result !== "") lines.push(view.result);
  return lines;
}

/** "planned by procedure disk-report (reactive) as 3 tasks: the goal reads as …", or "" when there is no plan yet. */
export function planLine({ plan, tasks }: GoalView): string {
  if (plan === undefined) return "";
  const { origin, level, model, round, why } = plan;
  const by = model === "" ? origin : `${origin}, ${model}`;
  const again = round > 1 ? `, plan ${round}` : "";
  return `planned by ${by} (${level}) as ${count(tasks.length, "task")}${again}${why === "" ? "" : `: ${why}`}`;
}

/** A remark on a task beside its state: why it failed, or that it waits for a person. */
export function remarkOf({ error, waitsFor }: Task): string {
  return waitsFor === "" ? error : `waits for you: aiosctl approvals show ${waitsFor}`;
}

/** The goal's questions, and how to answer. */
export function questionLines({ goal, questions }: GoalView): string[] {
  const open = goal?.status === "awaiting_input" ? questions.find(({ answer }) => answer === "") : undefined;
  if (open === undefined) return [];
  return [`it asks: ${open.question}`, `  answer with: aiosctl goal answer ${goal?.id} "…"`];
}

export function isOver(status: string | undefined): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** "in progress" */
export function words(status: string): string {
  return status.replaceAll("_", " ");
}

/** How long a task took, or has taken so far; "" when it has not begun. */
export function durationOf(task: Task, runningMs: number): string {
  if (task.status === "in_progress") return duration(runningMs);
  return task.startedAt > 0 && task.completedAt >= task.startedAt ? duration(task.completedAt - task.startedAt) : "";
}

function stateLine(goal: Goal | undefined, { currentPhase }: GoalView): string {
  const state = words(goal?.status ?? "unknown");
  return currentPhase === "" || words(currentPhase) === state ? state : `${state} (${currentPhase})`;
}

interface Placed {
  readonly task: Task;
  /** The tree's lines before it. */
  readonly before: string;
}

/** The tasks in the order of the tree, each with what is drawn before it. */
function arrange(tasks: readonly Task[]): Placed[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const depths = new Map<string, number>();
  const depthOf = (task: Task): number => {
    const known = depths.get(task.id);
    if (known !== undefined) return known;
    depths.set(task.id, 0); // what an untrue answer with a cycle would end at
    const needs = task.dependsOn.flatMap((id) => byId.get(id) ?? []);
    const depth = needs.length === 0 ? 0 : 1 + Math.max(...needs.map(depthOf));
    depths.set(task.id, depth);
    return depth;
  };
  const under = Map.groupBy(tasks, (task) => parentOf(task, byId, depthOf));
  const walk = (parent: string, indent: string): Placed[] => {
    const children = under.get(parent) ?? [];
    return children.flatMap((task, at) => {
      const last = at === children.length - 1;
      const before = parent === "" ? "" : `${indent}${last ? "└─ " : "├─ "}`;
      const next = parent === "" ? "" : `${indent}${last ? "   " : "│  "}`;
      return [{ task, before }, ...walk(task.id, next)];
    });
  };
  return walk("", "");
}

/** The deepest of the tasks that it needs; "" when it needs none. */
function parentOf(task: Task, byId: ReadonlyMap<string, Task>, depthOf: (task: Task) => number): string {
  const needs = task.dependsOn.flatMap((id) => byId.get(id) ?? []);
  return needs.toSorted((a, b) => depthOf(b) - depthOf(a))[0]?.id ?? "";
}
