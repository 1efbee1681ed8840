import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { Task } from "#proto/aios/common";
import type { GoalStatusResponse, OrchestratorService } from "#proto/aios/orchestrator";
import { type Context, type Exit, exit } from "./command.ts";
import { count, duration } from "./words.ts";

/** How often a goal is looked at. */
const intervalMs = 250;
/** A machine that does not answer is waited for: it may be starting again, and its goals with it. */
const patienceMs = 120_000;

const ends = ["completed", "failed", "cancelled"];

/**
 * Shows each change of a goal and its tasks until it has ended: `ok` when it was reached, `failed` when not.
 * In JSON each change is the whole state, one document a line; the last one is the end.
 * A machine that has `answered` before is waited for when it goes away; else its address may be wrong.
 */
export async function follow(
  id: string,
  orchestrator: Pick<Client<typeof OrchestratorService>, "getGoalStatus">,
  { out, clock, signal }: Pick<Context, "out" | "clock" | "signal">,
  answered: boolean,
): Promise<Exit> {
  const started = clock.monotonic();
  const shown = new Map<string, string>();
  let before = "";
  for (;;) {
    const look = () => orchestrator.getGoalStatus({ id });
    const status = before || answered ? await patiently(look, { out, clock, signal }) : await look();
    const now = JSON.stringify([status.goal?.status, status.tasks.map((task) => [task.id, task.status])]);
    if (now !== before) out.document(status);
    before = now;
    for (const line of changes(status, shown)) out.line(line);
    const goal = status.goal;
    if (goal !== undefined && ends.includes(goal.status)) {
      out.line(`${goal.status} after ${duration(clock.monotonic() - started)}${goal.result ? `: ${goal.result}` : ""}`);
      return goal.status === "completed" ? exit.ok : exit.failed;
    }
    await clock.sleep(intervalMs, signal);
  }
}

/** What is new since the last look, in words. `shown` is what was said of each task, and of the goal. */
function changes({ goal, tasks }: GoalStatusResponse, shown: Map<string, string>): string[] {
  const lines: string[] = [];
  if (goal !== undefined && !shown.has("goal")) {
    shown.set("goal", goal.id);
    lines.push(`goal ${goal.id}: ${goal.description}`);
  }
  if (tasks.length > 0 && !shown.has("plan")) {
    shown.set("plan", "");
    lines.push(`planned as ${count(tasks.length, "task")}`);
  }
  for (const task of tasks) {
    if (task.status === "pending" || shown.get(task.id) === task.status) continue;
    shown.set(task.id, task.status);
    lines.push(taskLine(task));
  }
  return lines;
}

function taskLine(task: Task): string {
  const took =
    task.completedAt > task.startedAt && task.startedAt > 0 ? ` (${duration(task.completedAt - task.startedAt)})` : "";
  const who = task.assignedAgent ? `${task.assignedAgent}: ` : "";
  return `  ${who}${task.description}: ${task.status.replace("_", " ")}${took}${task.error ? `: ${task.error}` : ""}`;
}

/** Asks until the machine answers or patience ends. */
async function patiently<T>(
  ask: () => Promise<T>,
  { out, clock, signal }: Pick<Context, "out" | "clock" | "signal">,
): Promise<T> {
  const since = clock.monotonic();
  for (let said = false; ; said = true) {
    try {
      return await ask();
    } catch (error) {
      const away = error instanceof AiosError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");
      if (!away || signal.aborted || clock.monotonic() - since > patienceMs) throw error;
      if (!said) out.note("the machine does not answer; waiting for it");
      await clock.sleep(intervalMs * 4, signal);
    }
  }
}
