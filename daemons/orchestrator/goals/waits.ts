/**
 * What a goal begins to wait for, an answer or an approval, is told once (`goal.waits`).
 */
import { cut } from "#lib/text";
import { approvalOf, type Goal, type Task } from "../goal.ts";

/** Characters of a goal that are shown where it is one line of many. */
const shownLengthMax = 60;

/** The matters for which a goal waits for a person, in one line each, whatever the words of a goal or of a model. */
export function waitsOf(goal: Goal): string[] {
  if (goal.state === "awaiting_input") return [asking(goal)];
  return goal.tasks.flatMap((task) => (approvalOf(task) === "" ? [] : [forApproval(goal, task)]));
}

/** Says that a goal asks something, with the command that answers. */
export function asking(goal: Goal): string {
  return `${nameOf(goal)} asks: ${line(goal.questions.at(-1)?.question ?? "")} (aiosctl goal answer ${goal.id} "…")`;
}

/** Says that a call of a goal waits to be approved, with the command that shows it. */
export function forApproval(goal: Goal, task: Task): string {
  return `${nameOf(goal)} waits for your approval of ${task.tool} (aiosctl approvals show ${approvalOf(task)})`;
}

const line = (text: string) => text.replaceAll(/\s+/g, " ");

function nameOf({ description }: Goal): string {
  const short = cut(description, shownLengthMax);
  return `goal "${line(short)}"`;
}
