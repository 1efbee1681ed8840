/** Goals at work over the orchestrator's ports in this process, one agent played by the test. */
import { type Clock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { AgentConfig } from "../agents/agent-config.ts";
import { openAgents } from "../agents/agents.ts";
import { type Assignments, type Handout, openAssignments } from "../agents/assignments.ts";
import { type Goal, type GoalState, isOver } from "../goal.ts";
import { openChanges } from "../goals/changes.ts";
import { type Goals, openGoals } from "../goals/goals.ts";
import type { Submission } from "../goals/submission.ts";
import type { Draft, Objective, Plan, PlannedStep } from "../plan.ts";
import { planCheck } from "../plans/check-plan.ts";
import type { GoalDecision } from "../plans/decisions.ts";
import { plannerOver } from "../plans/planner.ts";
import { type PortTwins, portTwins, twinTool } from "./port-twins.ts";

const agent: AgentConfig = {
  name: "system",
  type: "system",
  role: "r",
  brief: "b",
  namespaces: ["fs", "web"],
  standing: ["monitor:read"],
  requestable: ["fs:say:may"],
  concurrentTasksMax: 5,
  heartbeatIntervalMs: 1_000,
  limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
  restart: { max: 1, windowMs: 1_000, delayMs: 1_000 },
};

export const step = (name: string, more: Partial<PlannedStep> = {}): PlannedStep => ({
  name,
  description: `Do ${name}`,
  tool: twinTool,
  agent: "",
  needs: [],
  input: { what: name },
  expect: {},
  also: [],
  ...more,
});

export const planOf = (...steps: PlannedStep[]): Plan => ({
  origin: "test",
  procedure: "",
  level: "tactical",
  model: "m",
  why: "asked to",
  parameters: {},
  result: "done",
  steps,
});

export interface Bench {
  readonly ports: PortTwins;
  readonly asked: { objective: Objective; faults: readonly string[] }[];
  readonly decisions: GoalDecision[];
  /** The notices of goals that wait for a person. */
  readonly waits: string[];
  goals: Goals;
  assignments: Assignments;
  /** The plan for a goal. */
  draft: (objective: Objective, faults: readonly string[]) => Draft;
  /** Opens goals over what is stored, as after a start of the orchestrator. */
  open(): Promise<void>;
  close(): Promise<void>;
  submit(description: string, more?: Partial<Submission>): Promise<string>;
  /** Resolves with the goal once it is in that state. */
  until(id: string, state: GoalState): Promise<Goal>;
  /** The agent's next task. */
  next(): Promise<Handout>;
  /** Whether no task comes for as long as what was begun takes. */
  nothingMore(): Promise<boolean>;
  /** Resolves when what was told has been stored. */
  settled(): Promise<void>;
  report(taskId: string, said?: string): Promise<void>;
  fail(taskId: string): Promise<void>;
}

/** A bench that is open, with nothing stored. */
export async function openBench(clock: Clock = systemClock): Promise<Bench> {
  const asked: Bench["asked"] = [];
  const decisions: GoalDecision[] = [];
  const waits: string[] = [];
  const ports = portTwins();
  const open = async () => {
    const assignments = openAssignments(() => {}, 60_000);
    const agents = openAgents([agent], clock, { lost: assignments.lose, hung: () => {} });
    agents.register("system");
    const covers = (namespace: string, name: string) => agents.covers({ namespace, agent: name, priority: 0 });
    const source = {
      name: "twin",
      level: "tactical",
      draft: async (objective: Objective, faults: readonly string[]) => {
        asked.push({ objective, faults });
        return bench.draft(objective, faults);
      },
    } as const;
    const goals = openGoals({
      ...{ ...ports, agents, assignments, clock, log: silentLog, random: () => 0 },
      mayName: ["/srv/allowed"],
      planner: plannerOver([source], planCheck({ find: ports.tools.find, covers })),
      changes: openChanges(),
      decided: (decision) => decisions.push(decision),
      waits: (_, forWhat) => waits.push(forWhat),
      ended: () => {},
    });
    Object.assign(bench, { goals, assignments });
    await goals.resume();
  };
  const report = (taskId: string, success: boolean, output: string, error: string, errorCode = "") =>
    bench.assignments.report("system", { taskId, success, output, error, errorCode });
  const take = (waitMs: number) => bench.assignments.next("system", waitMs, new AbortController().signal);
  // Opened below.
  const unopened = {} as Pick<Bench, "goals" | "assignments">;
  const bench: Bench = {
    ...unopened,
    ...{ ports, asked, decisions, waits, open, draft: () => planOf(step("one")) },
    async close() {
      await bench.goals.end();
      bench.assignments.end();
    },
    submit: (description, more = {}) =>
      bench.goals.submit({
        ...{ description, priority: 2, tags: [], metadata: "", source: "operator:o", dependsOn: [], dedupeKey: "" },
        ...more,
      }),
    async until(id, state) {
      for (;;) {
        const goal = await bench.goals.find(id);
        if (goal.state === state) return goal;
        if (isOver(goal.state)) throw new Error(`${goal.state}: ${goal.result}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    async next() {
      const handout = await take(2_000);
      if (handout === undefined) throw new Error("no task came");
      return handout;
    },
    settled: () => new Promise((resolve) => setTimeout(resolve, 5)),
    nothingMore: async () => (await take(50)) === undefined,
    report: (taskId, said = "x") => report(taskId, true, JSON.stringify({ said }), ""),
    fail: (taskId) => report(taskId, false, "", "nothing there", "NOT_FOUND"),
  };
  await open();
  return bench;
}
