import { messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { type Ending, type Report, reasonOf } from "../agents/index.ts";
import { type Fate, wholeOutput } from "../calls.ts";
import { executionIds, type Goal, type Task } from "../goal.ts";
import type { JsonObject } from "../json.ts";
import { patiently } from "../patience.ts";
import { fill, type Values } from "../template.ts";
import type { ToolFacts } from "../tools.ts";
import { changeTask, forEver } from "./changes.ts";
import { forApproval } from "./waits.ts";
import type { World } from "./world.ts";

/** Most retries of a task. */
const retriesMax = 3;

/** The largest input and output of a task, as JSON: they are stored, and go into other tasks' inputs. */
export const jsonSizeMaxBytes = 256 * 1024;

/** The most that all tasks of a goal take together: aios-memory tells them in one answer. */
const goalSizeMaxBytes = 3_000_000;

/** Refusals that another try cannot change. */
const finalCodes: readonly string[] = [
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "NOT_FOUND",
  "FAILED_PRECONDITION",
  "UNIMPLEMENTED",
];

/** Codes by which an agent says that it does not know what came of its call. */
const unknownCodes: readonly string[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"];

/** Pause between two questions about a call that runs on. */
const lookAgainMs = 300;

/**
 * Takes an agent's report: what it makes of the task is stored before the task changes and the agent is answered.
 * Throws when it cannot be stored; the agent reports again. A call of which the agent knows nothing is lost.
 */
export async function recordReport(
  goal: Goal,
  task: Task,
  tool: ToolFacts,
  report: Report,
  world: World,
): Promise<Ending> {
  if (!report.success && unknownCodes.includes(report.errorCode)) return { kind: "lost", reason: reasonOf(report) };
  const next = outcomeOf(goal, task, tool, report, world);
  await changeTask(task, next, world, "none");
  return { kind: "recorded" };
}

/** Stores that a task's call waits for a person: whoever takes it up again asks again under the same id. Never fails. */
export async function noteWait(goal: Goal, task: Task, waitsFor: string, world: World): Promise<void> {
  const isNew = task.waitsFor !== waitsFor;
  task.waitsFor = waitsFor;
  world.changes.tell(goal);
  if (isNew) world.waits(goal, forApproval(goal, task));
  await world.store.putTask({ ...task }).catch((error) => {
    world.log.warn("it was not stored that a call waits for a person", { task: task.id, reason: messageOf(error) });
  });
}

function outcomeOf(goal: Goal, task: Task, tool: ToolFacts, report: Report, world: World): Partial<Task> {
  if (!report.success) {
    const reason = reasonOf(report);
    const final = finalCodes.includes(report.errorCode) || !tool.idempotent;
    return final ? failure(task, reason, world) : again(task, reason, world);
  }
  // What was asked for again may be answered from the ledger.
  const whole = wholeOutput(report.output);
  if (whole === undefined) return withoutOutput(task, tool, world);
  const output = readOutput(goal, whole);
  if (typeof output === "string") return failure(task, output, world);
  const unmet = unmetExpectation(goal, task, output);
  return unmet === undefined ? completion(output, world) : { ...failure(task, unmet, world), output };
}

function withoutOutput(task: Task, tool: ToolFacts, world: World): Partial<Task> {
  const reason = `${tool.name} was done, with more output than the ledger keeps`;
  return tool.idempotent ? again(task, reason, world) : failure(task, `${reason}, and must not be repeated`, world);
}

/** A task that was with an agent of which nothing more is to be heard: tried again, or failed when that was so too often. */
export async function retryLost(goal: Goal, task: Task, tool: ToolFacts, reason: string, world: World): Promise<void> {
  await settleLost({ goal, task, tool, reason, repeat: again(task, reason, world) }, world);
}

/** A task that was with an agent when the orchestrator ended. That is no fault of the task's: it counts as no failure. */
export async function resumeLost(goal: Goal, task: Task, tool: ToolFacts, world: World): Promise<void> {
  const reason = "the orchestrator ended while the task was running";
  await settleLost({ goal, task, tool, reason, repeat: { state: "pending" } }, world);
}

interface Lost {
  readonly goal: Goal;
  readonly task: Task;
  readonly tool: ToolFacts;
  readonly reason: string;
  /** Its state when it may be done again. */
  readonly repeat: Partial<Task>;
}

/**
 * The grants of such a task are gone, and its call is withdrawn by its id. What did not begin is done again, as `repeat` says, and
 * so is what did where that is harmless; else what the ledger says came of it is what came of it.
 */
async function settleLost({ goal, task, tool, reason, repeat }: Lost, world: World): Promise<void> {
  // A person is asked once: the same call is made again, and hears what was decided.
  if (task.waitsFor !== "") return await changeTask(task, { state: "pending" }, world);
  const fate = await fateOf(task, world);
  if (fate.kind === "never" || fate.kind === "refused") return await changeTask(task, repeat, world);
  if (fate.kind === "ended" && fate.answer.success) {
    const output = fate.answer.outputJson.toString("utf8");
    const report = { taskId: task.id, success: true, output, error: "", errorCode: "" };
    return await changeTask(task, outcomeOf(goal, task, tool, report, world), world);
  }
  if (tool.idempotent) return await changeTask(task, repeat, world);
  const how = fate.kind === "ended" ? `failed (${fate.answer.error})` : "was interrupted";
  await failTask(task, `${reason}; ${task.tool} had begun, ${how}, and must not be repeated`, world);
}

/** The fate of the task's last call. Waits for one that still runs. */
async function fateOf(task: Task, { tools, clock }: World): Promise<Exclude<Fate, { kind: "running" }>> {
  for (;;) {
    const fate = await patiently(clock, forEver, () => tools.withdraw(callOf(task)));
    if (fate.kind !== "running") return fate;
    await clock.sleep(lookAgainMs);
  }
}

const callOf = (task: Task) => ({
  ...{ id: executionIds(task).at(-1) ?? "", tool: task.tool, input: {}, agent: task.agent, taskId: task.id },
  reason: `task ${task.id} was lost`,
});

/** A task that has failed for good. */
export async function failTask(task: Task, reason: string, world: World): Promise<void> {
  await letGo(task, world);
  await changeTask(task, failure(task, reason, world), world);
}

/** A task that will not run any more. One that had begun says so: what it did is not undone. */
export async function closeTask(task: Task, reason: string, world: World): Promise<void> {
  const begun = task.state !== "pending";
  await letGo(task, world);
  const tries = task.failures.length === 0 ? "" : `; before: ${allReasons(task.failures)}`;
  const error = begun ? `${reason}; ${task.tool} had begun and may have had its effect` : `not done: ${reason}${tries}`;
  await changeTask(task, { state: "cancelled", error, completedAt: world.clock.now(), waitsFor: "" }, world);
}

/** Withdraws a call that waits for a person, for a task that is given up. */
async function letGo(task: Task, { tools, log }: World): Promise<void> {
  if (task.waitsFor === "") return;
  await tools.withdraw(callOf(task)).catch((error) => {
    log.warn("a call that waits for a person was not withdrawn", { task: task.id, reason: messageOf(error) });
  });
}

/** Values for the templates of a goal: its parameters and the tasks that are done. */
export function valuesFor(goal: Goal, more: Values["steps"] = {}): Values {
  const steps: Record<string, Values["steps"][string]> = { ...more };
  for (const { step, state, input, output } of goal.tasks) {
    if (state === "completed") steps[step] = { input: input ?? {}, output: output ?? {} };
  }
  return { parameters: goal.plan.parameters, steps };
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
      : `its output is not a JSON object: ${beginning(text, 100)}`;
  } catch (error) {
    return `its output is not JSON: ${messageOf(error)}`;
  }
}

/** Bytes of a value as JSON. */
export function sizeOf(value: JsonObject | undefined): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value));
}

/** The difference of the output from what the plan expects, in words. */
function unmetExpectation(goal: Goal, task: Task, output: JsonObject): string | undefined {
  try {
    const values = valuesFor(goal, { [task.step]: { input: task.input ?? {}, output } });
    for (const [field, template] of Object.entries(task.expect)) {
      const [wanted, got] = [JSON.stringify(fill(template, values)), JSON.stringify(output[field] ?? null)];
      if (wanted !== got) return `${field} is ${beginning(got, 200)}, expected ${beginning(wanted, 200)}`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function completion(output: JsonObject, { clock }: World): Partial<Task> {
  return { state: "completed", output, completedAt: clock.now(), error: "", waitsFor: "" };
}

/** The task pending again, or failed when it was tried often enough. */
function again(task: Task, reason: string, world: World): Partial<Task> {
  if (task.failures.length >= retriesMax) return failure(task, reason, world);
  return { state: "pending", failures: [...task.failures, reason], waitsFor: "" };
}

function failure(task: Task, reason: string, { clock }: World): Partial<Task> {
  const failures = [...task.failures, reason];
  return { state: "failed", failures, error: allReasons(failures), completedAt: clock.now(), waitsFor: "" };
}

/** All reasons as one, one that repeats told once. */
function allReasons(failures: readonly string[]): string {
  const distinct = [...new Set(failures)];
  if (distinct.length > 1) return failures.map((reason, index) => `try ${index + 1}: ${reason}`).join("; ");
  return failures.length === 1 ? `${failures[0]}` : `${failures[0]} (${failures.length} times)`;
}
