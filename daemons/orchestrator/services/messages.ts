import type { Goal as GoalMessage, Task as TaskMessage } from "#proto/aios/common";
import { Task as TaskType } from "#proto/aios/common";
import type { GoalView } from "#proto/aios/goal_control";
import type { Handout } from "../agents/index.ts";
import { approvalOf, type Goal, phaseOf, progressOf, type Task } from "../goal.ts";
import type { ParameterValue } from "../phrase.ts";

/** A goal with all that a person wants to see of it. */
export function viewMessage(goal: Goal): GoalView {
  const { origin, level, model, why, round, parameters } = goal.plan;
  return {
    goal: goalMessage(goal),
    tasks: goal.tasks.map((task) => taskMessage(goal, task)),
    currentPhase: phaseOf(goal),
    progressPercent: progressOf(goal),
    result: goal.result,
    plan: origin === "" ? undefined : { origin, level, model, why, round, parameters: texts(parameters) },
    questions: goal.questions.map(({ question, answer = "" }) => ({ question, answer })),
  };
}

export function goalMessage(goal: Goal): GoalMessage {
  const { id, description, priority, source, createdAt, updatedAt, result } = goal;
  const metadataJson = json(Object.keys(goal.metadata).length > 0 ? goal.metadata : undefined);
  return {
    id,
    description,
    priority,
    source,
    status: goal.state,
    createdAt,
    updatedAt,
    tags: [...goal.tags],
    metadataJson,
    result,
  };
}

export function taskMessage(goal: Goal, task: Task): TaskMessage {
  const { id, description, createdAt, startedAt, completedAt, error } = task;
  return {
    id,
    goalId: goal.id,
    description,
    assignedAgent: task.agent || task.wantedAgent,
    status: task.state,
    intelligenceLevel: goal.plan.level,
    requiredTools: [task.tool],
    dependsOn: [...task.dependsOn],
    inputJson: json({ tool: task.tool, arguments: task.input ?? task.template }),
    outputJson: json(task.output),
    createdAt,
    startedAt,
    completedAt,
    error,
    waitsFor: approvalOf(task),
  };
}

export function handoutMessage(
  { taskId, goalId, description, tool, input, executionId, dependsOn, createdAt }: Handout,
  agent: string,
): TaskMessage {
  return TaskType.fromPartial({
    id: taskId,
    goalId,
    description,
    assignedAgent: agent,
    status: "in_progress",
    intelligenceLevel: "reactive",
    requiredTools: [tool],
    dependsOn: [...dependsOn],
    inputJson: json({ tool, arguments: input, execution_id: executionId }),
    createdAt,
  });
}

function texts(values: Readonly<Record<string, ParameterValue>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

function json(value: unknown): Buffer {
  return value === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value));
}
