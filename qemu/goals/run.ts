import type { ModelServer } from "#lib/testing/model-server";
import { ApiGatewayService } from "#proto/aios/api_gateway";
import { GoalControlService } from "#proto/aios/goal_control";
import { followGoal, submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { type Probe, probe } from "./probe.ts";
import type { Ended, SampleGoal } from "./sample.ts";
import { callsOf, changedFiles, grantsLeft, rememberFiles } from "./traces.ts";

/** What became of a sample goal. */
export interface SampleEnd {
  readonly name: string;
  /** As it was to be: done, or refused. "failed": neither; then `why` says what is wrong. */
  readonly end: "done" | "refused" | "failed";
  readonly why: string;
  /** What the person was told came of it. */
  readonly result: string;
  readonly ms: number;
  /** Agents that completed a task of it. */
  readonly agents: readonly string[];
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
  model: ModelServer,
  say: (end: SampleEnd) => void = () => {},
): Promise<SampleEnd[]> {
  const look = probe(machine);
  const ends: SampleEnd[] = [];
  try {
    for (const goal of goals) {
      const end = await runSample(machine, look, goal, model);
      say(end);
      ends.push(end);
    }
    return ends;
  } finally {
    look.close();
  }
}

async function runSample(machine: Machine, look: Probe, goal: SampleGoal, model: ModelServer): Promise<SampleEnd> {
  await goal.prepare?.(look);
  if (goal.expect === "refused") await rememberFiles(look);
  const before = model.requests.length;
  const began = performance.now();
  const id = await submitGoal(machine, goal.description);
  const { goal: last, tasks } = await followGoal(machine, id, goalTimeoutMs, undefined, pollMs);
  const ms = performance.now() - began;
  const completed = tasks.filter(({ status }) => status === "completed");
  const ended: Ended = {
    id,
    result: last?.result ?? "",
    explanation: await explanationOf(machine, id),
    tasks: new Set(tasks.map((task) => task.id)),
    agents: [...new Set(completed.map((task) => task.assignedAgent))],
    asked: model.requests.length - before,
    tokens: await tokensOf(machine, id),
  };
  const calls = await callsOf(look, ended.tasks);
  const acted = calls.filter(({ tool, state }) => state === "done" && !goal.reads?.includes(tool));
  const why =
    judge(goal, last?.status ?? "", ended) ||
    (await grantsLeft(look)) ||
    (goal.expect === "refused" && acted.length > 0 ? `it did ${acted.map(({ tool }) => tool).join(", ")}` : "") ||
    (goal.expect === "refused" ? await changedFiles(look) : "") ||
    (await goal.check(look, ended).catch(String));
  const { result, agents, tokens } = ended;
  return {
    name: goal.name,
    end: why === "" ? goal.expect : "failed",
    why,
    result,
    ms,
    agents,
    calls: calls.length,
    tokens,
  };
}

/** What is not as it was to be in how the goal ended; "" when all is. */
function judge({ expect, agents = [], reason }: SampleGoal, status: string, ended: Ended): string {
  if (status !== (expect === "done" ? "completed" : "failed")) return `it is ${status}: ${ended.result}`;
  if (reason !== undefined && !reason.test(ended.result)) return `it was refused for another reason: ${ended.result}`;
  const idle = agents.filter((agent) => !ended.agents.includes(agent));
  return idle.length === 0 ? "" : `${idle.join(", ")} had no part in it`;
}

async function explanationOf(machine: Machine, id: string): Promise<string> {
  const control = machine.client(GoalControlService);
  try {
    return (await control.explainGoal({ id })).text;
  } finally {
    control.close();
  }
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
