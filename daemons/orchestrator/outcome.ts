import { messageOf } from "#lib/errors";
import type { Report } from "./assignments.ts";
import type { Goal, JsonObject, Task } from "./goal.ts";
import { patiently } from "./patience.ts";
import { fill, type Values } from "./template.ts";
import type { ToolFacts } from "./tools.ts";
import type { World } from "./world.ts";

/** A task is tried again so many times. */
export const retriesMax = 3;

/** The largest input and output of a task, as JSON: they are stored, and go into other tasks' inputs. */
export const jsonSizeMaxBytes = 256 * 1024;

/** What all tasks of a goal may take together: aios-memory tells them in one answer. */
const goalSizeMaxBytes = 3_000_000;

/** Refusals that another try cannot change: the agent puts the code before the reason. */
const finalCodes = ["INVALID_ARGUMENT", "PERMISSION_DENIED", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"];

/** Why a call whose outcome cannot be adopted is not made again. */
const unrepeatable = {
  done: "was done, with more output than the ledger keeps,",
  failed: "had begun and failed",
  open: "had begun, and the ledger does not say how it ended,",
} as const;

const never = new AbortController().signal;

/**
 * Takes an agent's report: what it makes of the task is stored before the task changes and the agent is answered.
 * Throws when it cannot be stored; the agent reports again.
 */
export async function recordReport(
  goal: Goal,
  task: Task,
  tool: ToolFacts,
  report: Report,
  world: World,
): Promise<void> {
  const next = outcomeOf(goal, task, tool, report, world);
  await changeTask(task, next, (whole) => world.store.putTask(whole));
}

function outcomeOf(goal: Goal, task: Task, tool: ToolFacts, report: Report, world: World): Partial<Task> {
  if (!report.success) {
    const reason = report.error || "the agent gave no reason";
    const final = finalCodes.some((code) => reason.startsWith(`${code}:`)) || !tool.idempotent;
    return final ? failed(task, reason, world) : again(task, reason, world);
  }
  const output = readOutput(goal, report.output);
  if (typeof output === "string") return failed(task, output, world);
  const unmet = unmetExpectation(goal, task, output);
  return unmet === undefined ? completed(output, world) : { ...failed(task, unmet, world), output };
}

/** A task that was with an agent of which nothing more is to be heard: tried again, or failed when that was so too often. */
export async function retryLost(task: Task, tool: ToolFacts, reason: string, world: World): Promise<void> {
  await settleLost(task, tool, reason, again(task, reason, world), world);
}

/** A task that was with an agent when the orchestrator ended. That is no fault of the task's: it counts as no try. */
export async function resumeLost(task: Task, tool: ToolFacts, world: World): Promise<void> {
  await settleLost(task, tool, "the orchestrator ended while the task was running", { state: "pending" }, world);
}

/**
 * The grants of such a task are gone, so it cannot begin any more. Where that is harmless it is done again, as `repeat` says;
 * else the ledger tells whether it ran, and it never runs twice.
 */
async function settleLost(
  task: Task,
  tool: ToolFacts,
  reason: string,
  repeat: Partial<Task>,
  world: World,
): Promise<void> {
  if (tool.idempotent) return await store(task, repeat, world);
  const trace = await patiently(world.clock, never, () =>
    world.tools.trace(task.id, task.agent, task.tool, task.startedAt),
  );
  if (trace.kind === "none") return await store(task, repeat, world);
  if (trace.kind === "done" && trace.output !== undefined) {
    return await store(task, completed(trace.output, world), world);
  }
  await failTask(task, `${reason}; ${task.tool} ${unrepeatable[trace.kind]} and must not be repeated`, world);
}

/** A task that has failed for good. */
export async function failTask(task: Task, reason: string, world: World): Promise<void> {
  await store(task, failed(task, reason, world), world);
}

/** A task that will not run any more. One that had begun says so: what it did is not undone. */
export async function closeTask(task: Task, reason: string, world: World): Promise<void> {
  const begun = task.state !== "pending";
  const tries = task.failures.length === 0 ? "" : `; before: ${whole(task.failures)}`;
  const error = begun ? `${reason}; ${task.tool} had begun and may have had its effect` : `not done: ${reason}${tries}`;
  await store(task, { state: "cancelled", error, completedAt: world.clock.now() }, world);
}

/** Changes a task once its new form is stored. */
export async function changeTask(task: Task, next: Partial<Task>, put: (whole: Task) => Promise<void>): Promise<void> {
  await put({ ...task, ...next });
  Object.assign(task, next);
}

/** What the templates of a goal are filled from: its parameters and the tasks that are done. */
export function valuesFor(goal: Goal, more: Values["steps"] = {}): Values {
  const steps: Record<string, Values["steps"][string]> = { ...more };
  for (const { step, state, input, output } of goal.tasks) {
    if (state === "completed") steps[step] = { input: input ?? {}, output: output ?? {} };
  }
  return { parameters: goal.plan.parameters, steps };
}

async function store(task: Task, next: Partial<Task>, world: World): Promise<void> {
  await changeTask(task, next, (whole) => patiently(world.clock, never, () => world.store.putTask(whole)));
}

/** The output of a tool, or why it cannot be one. */
function readOutput(goal: Goal, text: string): JsonObject | string {
  const size = Buffer.byteLength(text);
  if (size > jsonSizeMaxBytes) return `its output is ${size} bytes, a task may give ${jsonSizeMaxBytes}`;
  const all = goal.tasks.reduce((sum, { input, output }) => sum + sizeOf(input) + sizeOf(output), size);
  if (all > goalSizeMaxBytes) return `with its output the goal's tasks are ${all} bytes, at most ${goalSizeMaxBytes}`;
  try {
    const value: unknown = JSON.parse(text || "{}");
    return value !== null && typeof value === "object" && !Array.isArray(value)
      ? (value as JsonObject)
      : `its output is not a JSON object: ${text.slice(0, 100)}`;
  } catch (error) {
    return `its output is not JSON: ${messageOf(error)}`;
  }
}

/** Bytes of a value as JSON. */
export function sizeOf(value: JsonObject | undefined): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value));
}

/** What is not as the plan expects of the output, in words. */
function unmetExpectation(goal: Goal, task: Task, output: JsonObject): string | undefined {
  try {
    const values = valuesFor(goal, { [task.step]: { input: task.input ?? {}, output } });
    for (const [field, template] of Object.entries(task.expect)) {
      const [wanted, got] = [JSON.stringify(fill(template, values)), JSON.stringify(output[field] ?? null)];
      if (wanted !== got) return `${field} is ${got.slice(0, 200)}, expected ${wanted.slice(0, 200)}`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function completed(output: JsonObject, { clock }: World): Partial<Task> {
  return { state: "completed", output, completedAt: clock.now(), error: "" };
}

/** The task pending again, or failed when it was tried often enough. */
function again(task: Task, reason: string, world: World): Partial<Task> {
  if (task.failures.length >= retriesMax) return failed(task, reason, world);
  return { state: "pending", failures: [...task.failures, reason] };
}

function failed(task: Task, reason: string, { clock }: World): Partial<Task> {
  const failures = [...task.failures, reason];
  return { state: "failed", failures, error: whole(failures), completedAt: clock.now() };
}

/** All reasons as one, one that repeats told once. */
function whole(failures: readonly string[]): string {
  const distinct = [...new Set(failures)];
  if (distinct.length > 1) return failures.map((reason, index) => `try ${index + 1}: ${reason}`).join("; ");
  return failures.length === 1 ? `${failures[0]}` : `${failures[0]} (${failures.length} times)`;
}
