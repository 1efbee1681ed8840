/**
 * A request whose body or headers use what a step gave, or that a later plan makes with a body, asks a person at every
 * level. A first plan by a model may need places that nobody has named ("put a web server in front of it" says no
 * path): a call that changes one, neither said nor below a folder that was said nor in `planning.may_name`, asks a
 * person at every level (`strangePlaces`); so does one of a plan that was only learned.
 */
import type { Goal, Task } from "../goal.ts";
import { parseTemplate, textsIn } from "../template.ts";
import { leavesMachine } from "./steering.ts";

/** Fields whose content goes to the other side as it is. */
const bodyFields = ["body", "headers"] as const;

/**
 * Whether a call may carry out of the machine what a step has read: a person is asked then, at every level. A body that uses
 * what a step gave does; so may one that a model wrote after something was read, in whatever form.
 */
export function sendsOut(
  { plan, tasks }: Pick<Goal, "plan" | "tasks">,
  task: Pick<Task, "tool" | "template">,
): boolean {
  const { tool, template } = task;
  if (!leavesMachine({ tool, input: template })) return false;
  const body = bodyFields.flatMap((field) => textsIn(template[field] ?? null));
  if (body.some((text) => parseTemplate(text).some(({ kind }) => kind === "output"))) return true;
  const afterReading = plan.model !== "" && plan.round > 0 && tasks.some(({ state }) => state === "completed");
  return afterReading && (tool === "git.push" || body.some((text) => text !== ""));
}
