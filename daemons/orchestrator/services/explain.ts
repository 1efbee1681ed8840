import { cut } from "#lib/text";
import type { GoalExplanation } from "#proto/aios/goal_control";
import { type DecisionNote, executionIds, type Goal, isOver, type Task } from "../goal.ts";
import type { Execution, Tools } from "../tools.ts";
import { taskMessage } from "./messages.ts";

const priorities = ["critical", "high", "normal", "low"];

/** Characters of an output that are told. */
const outputLengthMax = 160;

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

/** The story of a goal in plain words: who asked, how it was planned and between what, what was done, what came of it. */
export function explain(goal: Goal, executions: ReadonlyMap<string, readonly Execution[]>): string {
  const { description, source, createdAt, priority, metadata } = goal;
  const noticed = metadata["noticed"];
  const lines = [
    `${description}`,
    `Asked for by ${source || "somebody unknown"} on ${moment(createdAt)}, ${priorities[priority] ?? priority} priority.`,
    ...(typeof noticed === "string" ? [`Because ${noticed}.`] : []),
  ];
  goal.decisions.forEach((decision, at) => {
    lines.push("", ...decisionLines(decision, at, goal));
  });
  if (goal.tasks.length > 0) {
    lines.push("", "What was done:");
    goal.tasks.forEach((task, at) => {
      lines.push(...taskLines(task, at, executions.get(task.id) ?? []));
    });
  }
  lines.push("", ending(goal));
  return lines.join("\n");
}

function decisionLines(decision: DecisionNote, at: number, goal: Goal): string[] {
  const { situation, options, chosen, why, level, model } = decision;
  const lines = [headline(situation, goal.decisions[at - 1])];
  for (const option of options) {
    if (option.verdict === "chosen" || option.verdict.startsWith("asks: ")) continue;
    lines.push(`  - not by ${option.source} (${option.level}): ${option.verdict}`);
  }
  if (chosen === "give up") return [...lines, "  No plan was found."];
  if (chosen === "ask the person") return [...lines, `  The person was asked: ${why}`, ...answerLines(goal, why)];
  const by = model === "" ? `${level}, without a model` : `${level}, model ${model}`;
  lines.push(`  Chosen: ${chosen} (${by}), because ${why}.`);
  const parameters = at === goal.decisions.length - 1 ? Object.entries(goal.plan.parameters) : [];
  if (parameters.length > 0)
    lines.push(`  With ${parameters.map(([name, value]) => `${name} = ${value}`).join(", ")}.`);
  return lines;
}

function headline(situation: string, before: DecisionNote | undefined): string {
  if (before === undefined) return "How it was planned:";
  return before.chosen === "ask the person" ? "After the answer:" : `After a failure: ${situation}`;
}

function answerLines({ questions }: Goal, question: string): string[] {
  const answer = questions.findLast((one) => one.question === question)?.answer;
  return [answer === undefined ? "  There is no answer yet." : `  The answer: ${answer}`];
}

function taskLines(task: Task, at: number, executions: readonly Execution[]): string[] {
  const { description, tool, agent, wantedAgent, failures, error, output, state } = task;
  const who = agent || wantedAgent;
  const tries = failures.length + (state === "failed" ? 0 : 1);
  const facts = [
    state === "completed" ? "done" : state.replace("_", " "),
    ...(took(task) === "" ? [] : [took(task)]),
    ...(tries > 1 ? [`${tries} tries`] : []),
  ];
  const lines = [
    `  ${at + 1}. ${description}: ${tool}${who === "" ? "" : ` by agent ${who}`}, ${facts.join(", ")}.`,
    ...executions.map(executionLine),
  ];
  if (state === "completed" && failures.length > 0) lines.push(`     Before: ${failures.join("; ")}`);
  if (error !== "") lines.push(`     ${error}`);
  else if (output !== undefined) lines.push(`     It gave ${shorten(JSON.stringify(output))}`);
  return lines;
}

function executionLine({ id, state, error, durationMs }: Execution): string {
  const time = durationMs === undefined ? "" : ` in ${seconds(durationMs)}`;
  return `     Execution ${id}: ${state}${time}${error === "" ? "" : `: ${error}`}`;
}

function ending({ state, result, questions }: Goal): string {
  if (state === "completed") return `It was reached: ${result}`;
  if (state === "failed") return `It was not reached: ${result}`;
  if (state === "cancelled") return `It was given up: ${result}`;
  if (state === "awaiting_input") return `It waits for an answer: ${questions.at(-1)?.question ?? ""}`;
  return `It is ${state.replace("_", " ")}.`;
}

function took({ state, startedAt, completedAt }: Task): string {
  if (!isOver(state) || startedAt === 0 || completedAt < startedAt) return "";
  return seconds(completedAt - startedAt);
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function moment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function shorten(text: string): string {
  return cut(text, outputLengthMax);
}
