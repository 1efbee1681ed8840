import { ApiGatewayService } from "#proto/aios/api_gateway";
import type { GoalStatusResponse } from "#proto/aios/orchestrator";
import { followGoal, submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { type Probe, probe } from "./probe.ts";
import type { SampleGoal } from "./twenty.ts";

/** What became of a sample goal. */
export interface SampleEnd {
  readonly name: string;
  /** As it was to be: done, or refused. "failed": neither; then `why` says what is wrong. */
  readonly end: "done" | "refused" | "failed";
  readonly why: string;
  readonly ms: number;
  /** Tool calls of its tasks, as the ledger has them. */
  readonly calls: number;
  /** What models outside the machine were asked and answered, tokens. */
  readonly tokens: number;
}

const goalTimeoutMs = 180_000;
const pollMs = 20;

/** Gives the machine each goal in turn, waits for its end, and looks whether the machine is as it should be then. */
export async function runSamples(
  machine: Machine,
  goals: readonly SampleGoal[],
  say: (end: SampleEnd) => void,
): Promise<SampleEnd[]> {
  const look = probe(machine);
  const ends: SampleEnd[] = [];
  try {
    for (const goal of goals) {
      const end = await runSample(machine, look, goal);
      say(end);
      ends.push(end);
    }
    return ends;
  } finally {
    look.close();
  }
}

async function runSample(machine: Machine, look: Probe, goal: SampleGoal): Promise<SampleEnd> {
  await goal.prepare?.(look);
  const began = performance.now();
  const id = await submitGoal(machine, goal.description);
  const status = await followGoal(machine, id, goalTimeoutMs, undefined, pollMs);
  const ms = performance.now() - began;
  const tasks = new Set(status.tasks.map((task) => task.id));
  const why = judge(goal, status) || (await goal.check(look).catch((error: unknown) => String(error)));
  const counted = { calls: await callsOf(look, tasks), tokens: await tokensOf(machine, id) };
  return { name: goal.name, end: why === "" ? goal.expect : "failed", why, ms, ...counted };
}

/** What is not as it was to be in how the goal ended; "" when all is. */
function judge({ expect, agents = [], reason }: SampleGoal, { goal, tasks }: GoalStatusResponse): string {
  const wanted = expect === "done" ? "completed" : "failed";
  if (goal?.status !== wanted) return `it is ${goal?.status}: ${goal?.result}`;
  if (reason !== undefined && !reason.test(goal.result)) return `it was refused for another reason: ${goal.result}`;
  const worked = new Set(tasks.filter(({ status }) => status === "completed").map((task) => task.assignedAgent));
  const idle = agents.filter((agent) => !worked.has(agent));
  return idle.length === 0 ? "" : `${idle.join(", ")} had no part in it`;
}

const auditMax = 500;

async function callsOf(look: Probe, tasks: ReadonlySet<string>): Promise<number> {
  const { entries } = (await look.call("sec.audit", { limit: auditMax })) as {
    entries: { task_id: string; tool: string }[];
  };
  // The orchestrator's grants for a task are not the task's own calls.
  return entries.filter(({ task_id, tool }) => tasks.has(task_id) && !["sec.grant", "sec.revoke"].includes(tool))
    .length;
}

async function tokensOf(machine: Machine, taskId: string): Promise<number> {
  const gateway = machine.client(ApiGatewayService);
  try {
    const usage = await gateway.getUsage({ days: 1, provider: "", model: "", requestingAgent: "", taskId });
    return usage.totalTokens;
  } finally {
    gateway.close();
  }
}
