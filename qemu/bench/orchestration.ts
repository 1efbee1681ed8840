import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { consoleLines } from "#manifest";
import { GoalControlService } from "#proto/aios/goal_control";
import { OrchestratorService, SubmitGoalRequest } from "#proto/aios/orchestrator";
import { type Probe, probe } from "../goals/probe.ts";
import { type Machine, startMachine } from "../machine.ts";
import type { Bench } from "./bench.ts";
import { listingMeasures } from "./orchestration-list.ts";
import { quantile, repeat } from "./repeat.ts";
import type { Measure } from "./row.ts";

/** A goal of three tasks by a declared procedure, natively: p50. */
const firstCallBudgetMs = 100;
const doneBudgetMs = 500;
const rounds = 30;
const warmUps = 3;

/** The orchestrator takes so many at a time. */
const queuedGoals = 1_000;
const urgentGoals = 100;
const submittersTogether = 32;
const queueTimeoutMs = 600_000;
/** The second half of the goals may take so many times as long as the first. */
const linearBudget = 1.5;
const growthBudgetMb = 64;

const bootTimeoutMs = 120_000;

/**
 * From a goal's submission to its first tool call and to its end; a thousand goals at once, a hundred of which are urgent and
 * come last; ten thousand finished goals listed by page.
 */
export const orchestrationBench: Bench = async ({ images, accelerator, repository, say }) => {
  const folder = mkdtempSync(join(tmpdir(), "aios-bench-orchestration-"));
  try {
    const machine = await startMachine({
      ...{
        lane: "native",
        data: "folder",
        images: await images(),
        folder,
        accelerator,
        operatorFolder: join(folder, "operator"),
      },
    });
    try {
      await machine.waitFor(consoleLines.ready, bootTimeoutMs);
      await machine.reached(bootTimeoutMs);
      const look = probe(machine);
      await liftLimits(look);
      const measures = [...(await latency(machine, look, say)), ...(await queue(machine, say))];
      look.close();
      return [...measures, ...(await listingMeasures(repository, join(folder, "listing"), say))];
    } finally {
      await machine.cut();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** The limits keep agents from wearing a machine out, which is what this does. */
async function liftLimits(look: Probe): Promise<void> {
  const path = "/etc/aios/security/policy.toml";
  const text = await look.content(path);
  const lifted = text.replaceAll(/^(calls|writes|destructive|network) = \d+$/gm, "$1 = 1000000");
  await look.call("fs.write", { path, content: lifted });
  await new Promise((resolve) => setTimeout(resolve, 2_000)); // it is read again within a second
}

/** Now, as the machine's clock has it: in the native lane it is this host's. */
const now = () => performance.timeOrigin + performance.now();

async function latency(machine: Machine, look: Probe, say: (line: string) => void): Promise<Measure[]> {
  const orchestrator = machine.client(OrchestratorService);
  const control = machine.client(GoalControlService);
  const firsts: number[] = [];
  const ends: number[] = [];
  try {
    for (let round = -warmUps; round < rounds; round += 1) {
      const began = now();
      const description = `report cpu usage to /var/lib/aios/reports/cpu-${round}.txt`;
      const { id } = await orchestrator.submitGoal(SubmitGoalRequest.fromPartial({ description, priority: 2 }));
      let status = "";
      let tasks: string[] = [];
      for await (const view of control.watchGoal({ id }, { timeoutMs: 30_000 })) {
        status = view.goal?.status ?? "";
        tasks = view.tasks.map((task) => task.id);
      }
      const tookMs = now() - began;
      if (status !== "completed" || tasks.length !== 3)
        throw new Error(`goal ${id}: ${status} with ${tasks.length} tasks`);
      if (round < 0) continue;
      ends.push(tookMs);
      firsts.push((await firstCall(look, began, tasks)) - began);
    }
  } finally {
    orchestrator.close();
    control.close();
  }
  const [first, end] = [firsts, ends].map((times) => times.sort((a, b) => a - b)) as [number[], number[]];
  say(`bench: first call after ${quantile(first, 0.5).toFixed(0)} ms, done after ${quantile(end, 0.5).toFixed(0)} ms`);
  return [
    { name: "goal.first_tool_call.p50", value: quantile(first, 0.5), unit: "ms", budget: firstCallBudgetMs },
    { name: "goal.first_tool_call.p95", value: quantile(first, 0.95), unit: "ms" },
    { name: "goal.three_tasks_done.p50", value: quantile(end, 0.5), unit: "ms", budget: doneBudgetMs },
    { name: "goal.three_tasks_done.p95", value: quantile(end, 0.95), unit: "ms" },
  ];
}

/** When the first call of these tasks was taken in, as the ledger has it. */
async function firstCall(look: Probe, since: number, tasks: readonly string[]): Promise<number> {
  const { entries } = (await look.call("sec.audit", { since: Math.floor(since), limit: 100 })) as {
    entries: { at: number; task_id: string; caller_kind: string }[];
  };
  const own = entries.filter(({ task_id, caller_kind }) => tasks.includes(task_id) && caller_kind === "agent");
  if (own.length === 0) throw new Error("the ledger has no call of the goal's tasks");
  return Math.min(...own.map(({ at }) => at));
}

async function queue(machine: Machine, say: (line: string) => void): Promise<Measure[]> {
  const orchestrator = machine.client(OrchestratorService);
  const size = () => {
    const bytes = machine.processes().find(({ argv }) => argv.join(" ").includes("orchestrator.cjs"))?.pssBytes ?? 0;
    return bytes / 1_000_000;
  };
  try {
    const before = size();
    const ids: { id: string; urgent: boolean }[] = [];
    const began = now();
    const { perSecond } = await repeat(queuedGoals, submittersTogether, async (at) => {
      const urgent = at >= queuedGoals - urgentGoals;
      const description = `how large is /etc/aios/agents/${["system", "task", "dev", "network"][at % 4]}.toml`;
      const request = SubmitGoalRequest.fromPartial({ description, priority: urgent ? 0 : 3 });
      const { id } = await orchestrator.submitGoal(request, { timeoutMs: 60_000 });
      ids.push({ id, urgent });
    });
    const submitted = now();
    let most = size();
    while ((await orchestrator.getSystemStatus({}, { timeoutMs: 60_000 })).activeGoals > 0) {
      if (now() - submitted > queueTimeoutMs) throw new Error(`goals are left after ${queueTimeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 250));
      most = Math.max(most, size());
    }
    const ends = await Promise.all(
      ids.map(async ({ id, urgent }) => {
        const { goal } = await orchestrator.getGoalStatus({ id }, { timeoutMs: 60_000 });
        return { urgent, done: goal?.status === "completed", at: (goal?.updatedAt ?? 0) - began };
      }),
    );
    return queueMeasures(
      ends,
      { perSecond, growth: Math.max(most, size()) - before, submittedMs: submitted - began },
      say,
    );
  } finally {
    orchestrator.close();
  }
}

interface Ended {
  readonly urgent: boolean;
  readonly done: boolean;
  /** Milliseconds after the first was submitted. */
  readonly at: number;
}

function queueMeasures(
  ends: readonly Ended[],
  { perSecond, growth, submittedMs }: { perSecond: number; growth: number; submittedMs: number },
  say: (line: string) => void,
): Measure[] {
  const times = ends.map(({ at }) => at).sort((a, b) => a - b);
  const urgent = ends.filter((one) => one.urgent).map(({ at }) => at);
  const calm = ends.filter((one) => !one.urgent).map(({ at }) => at);
  const half = quantile(times, 0.5);
  const all = times.at(-1) ?? 0;
  say(
    `bench: ${ends.length} goals in ${(all / 1_000).toFixed(1)} s, the last urgent one at ${Math.max(...urgent).toFixed(0)} ms`,
  );
  return [
    { name: "queue.submitted", value: perSecond, unit: "per_s" },
    { name: "queue.done", value: ends.filter(({ done }) => done).length, unit: "count", budget: queuedGoals },
    { name: "queue.goals", value: (ends.length / all) * 1_000, unit: "per_s" },
    { name: "queue.all_done", value: all, unit: "ms" },
    // Linear: the second half of the goals takes no longer than the first.
    { name: "queue.second_half_over_first", value: (all - half) / half, unit: "times", budget: linearBudget },
    // What is urgent and came last does not wait for what came before; what is not is not left behind for ever either.
    {
      name: "queue.urgent_last_after_submission",
      value: Math.max(...urgent) - submittedMs,
      unit: "ms",
      budget: all / 2,
    },
    { name: "queue.low_priority_last", value: Math.max(...calm), unit: "ms" },
    { name: "queue.orchestrator_growth", value: growth, unit: "MB", budget: growthBudgetMb },
  ];
}
