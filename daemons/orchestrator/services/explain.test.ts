import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { uuidOf } from "#lib/ids";
import { silentLog } from "#lib/log";
import type { Goal } from "../goal.ts";
import { goalOf, headOf, tasksOf } from "../goals/records.ts";
import type { Plan, PlannedStep } from "../plan.ts";
import { type LoggedDecision, noteOf, openDecisionLog } from "../plans/decisions.ts";
import type { Execution } from "../tools.ts";
import { explain, explainGoal } from "./explain.ts";

const start = Date.UTC(2026, 10, 21, 5, 0, 0);

const step = (name: string, tool: string, agent: string, needs: readonly string[] = []): PlannedStep => ({
  ...{ name, tool, agent, needs, description: `Do ${name}`, input: {}, expect: {}, also: [] },
});

const planOf = (origin: string, steps: readonly PlannedStep[], more: Partial<Plan> = {}): Plan => ({
  ...{ origin, procedure: "", level: "reactive", model: "", why: "the goal reads so", parameters: {} },
  ...{ result: "Done.", steps, ...more },
});

const submission = {
  ...{ description: "Put a proxy before port 8081", priority: 1, tags: [], metadata: "", source: "operator:alice" },
  ...{ dependsOn: [], dedupeKey: "" },
};

/** Asked a question, planned by a procedure that failed, then by a model. */
function story(): Goal {
  const goal = goalOf(submission, {}, start);
  const first = planOf(
    "procedure proxy",
    [step("search", "pkg.search", "package"), step("install", "pkg.install", "", ["search"])],
    {
      ...{ procedure: "proxy", parameters: { port: 8081 } },
    },
  );
  const second = planOf("gateway claude (c)", [step("build", "process.spawn", "dev")], {
    ...{ level: "strategic", model: "c", why: "there is no package" },
  });
  const question = "Which port?";
  goal.questions = [{ question, answer: "8081" }];
  goal.decisions = [
    noteOf(
      "a plan is wanted",
      [{ source: "procedures", level: "reactive", verdict: `asks: ${question}` }],
      { question },
      start,
    ),
    noteOf(
      "a plan is wanted",
      [
        { source: "what was learned", level: "reactive", verdict: "nothing that was learned fits" },
        { source: "procedures", level: "reactive", verdict: "chosen" },
      ],
      first,
      start,
    ),
    noteOf(
      "Do install (pkg.install): NOT_FOUND: there is no such package",
      [
        { source: "the operational model", level: "operational", verdict: "model tiny came to no end of a plan" },
        { source: "the strategic model", level: "strategic", verdict: "chosen" },
      ],
      second,
      start + 2_000,
    ),
  ];
  const [search, install] = tasksOf(goal, first, 0);
  goal.tasks = [search, install].flatMap((task) => (task === undefined ? [] : [task]));
  goal.tasks = [...goal.tasks, ...tasksOf(goal, second, 1)];
  const times = { startedAt: start + 100, completedAt: start + 350 };
  const ends = [
    { ...times, state: "completed", agent: "package", output: { total: 1 }, failures: ["UNAVAILABLE: busy"], tries: 2 },
    {
      ...times,
      state: "cancelled",
      agent: "package",
      tries: 1,
      error: "another plan is followed; it had failed: NOT_FOUND",
    },
    { ...times, completedAt: start + 61_600, state: "completed", agent: "dev", output: { pid: 7 }, tries: 1 },
  ] as const;
  goal.tasks.forEach((task, at) => {
    Object.assign(task, ends[at]);
  });
  goal.plan = headOf(second, 1);
  return Object.assign(goal, { state: "completed", result: "The proxy runs." });
}

const done = (id: string, durationMs: number): Execution => ({
  ...{ id, state: "done", error: "", durationMs },
  reversible: false,
});

describe("an explanation", () => {
  it("tells what the machine gave itself a goal for", () => {
    const noticed = "monitor noticed service.down of nginx: stopped: ended by SIGKILL";
    const goal = goalOf({ ...submission, source: "trigger:service-down" }, { noticed }, start);
    expect(explain(goal, new Map()).split("\n").slice(1, 3)).toEqual([
      "Asked for by trigger:service-down on 2026-11-21 05:00:00 UTC, high priority.",
      `Because ${noticed}.`,
    ]);
  });

  it("tells a goal's whole story in plain words", () => {
    const goal = story();
    const [search, install, build] = goal.tasks.map(({ id }) => id);
    const executions = new Map<string, readonly Execution[]>([
      [search ?? "", [done("e1", 120)]],
      [install ?? "", [{ id: "e2", state: "failed", error: "no such package", durationMs: 90, reversible: false }]],
      [build ?? "", [done("e3", 61_000)]],
    ]);
    expect(explain(goal, executions)).toBe(
      `Put a proxy before port 8081
Asked for by operator:alice on 2026-11-21 05:00:00 UTC, high priority.

How it was planned:
  The person was asked: Which port?
  The answer: 8081

After the answer:
  - not by what was learned (reactive): nothing that was learned fits
  Chosen: procedure proxy (reactive, without a model), because the goal reads so.

After a failure: Do install (pkg.install): NOT_FOUND: there is no such package
  - not by the operational model (operational): model tiny came to no end of a plan
  Chosen: gateway claude (c) (strategic, model c), because there is no package.

What was done:
  1. Do search: pkg.search by agent package, done, 250 ms, 2 tries.
     Execution e1: done in 120 ms
     Before: UNAVAILABLE: busy
     It gave {"total":1}
  2. Do install: pkg.install by agent package, cancelled, 250 ms.
     Execution e2: failed in 90 ms: no such package
     another plan is followed; it had failed: NOT_FOUND
  3. Do build: process.spawn by agent dev, done, 61.5 s.
     Execution e3: done in 61.0 s
     It gave {"pid":7}

It was reached: The proxy runs.`,
    );
  });

  it("tells why there was no plan, and what the parameters were", () => {
    const goal = goalOf(submission, {}, start);
    const options = [{ source: "procedures", level: "reactive", verdict: "no procedure covers this goal" }] as const;
    goal.decisions = [noteOf("a plan is wanted", options, { reason: "no procedure covers this goal" }, start)];
    Object.assign(goal, { state: "failed", result: "no procedure covers this goal" });
    expect(explain(goal, new Map())).toContain(
      "No plan was found.\n\nIt was not reached: no procedure covers this goal",
    );
    const plan = planOf("procedure p", [], { parameters: { port: 8081, path: "/a" } });
    goal.decisions = [noteOf("a plan is wanted", [], plan, start)];
    goal.plan = headOf(plan, 0);
    expect(explain(goal, new Map())).toContain("  With port = 8081, path = /a.");
  });

  it("has the ledger's calls by task, and goes without while the ledger cannot be read", async () => {
    const goal = story();
    const told = await explainGoal(goal, {
      executions: async (ids) => ids.map((id) => done(id, 5)),
    });
    const [search, install, build] = goal.tasks.map(({ id }) => id);
    expect(told.tasks.map(({ executions, durationMs }) => [executions.map(({ id }) => id), durationMs])).toEqual([
      [[uuidOf(search ?? "", 1), uuidOf(search ?? "", 2)], 250],
      [[uuidOf(install ?? "", 1)], 250],
      [[uuidOf(build ?? "", 1)], 61_500],
    ]);
    expect(told.decisions.map(({ chosen, level }) => [chosen, level])).toEqual([
      ["ask the person", "reactive"],
      ["procedure proxy", "reactive"],
      ["gateway claude (c)", "strategic"],
    ]);
    const away = async () => {
      throw new AiosError("UNAVAILABLE", "tools are away");
    };
    expect((await explainGoal(goal, { executions: away })).text).not.toContain("Execution");
  });
});

describe("the log of decisions", () => {
  const clock = new ManualClock();

  it("has each decision once, at last with what came of it", async () => {
    const kept = new Map<string, LoggedDecision>();
    const store = async (decision: LoggedDecision) => void kept.set(decision.id, decision);
    const log = openDecisionLog(store, { clock, log: silentLog }, new AbortController().signal);
    const goal = story();
    const all = goal.decisions;
    all.forEach((_, at) => {
      goal.decisions = all.slice(0, at + 1);
      log.decided({ goal, situation: "", options: [], draft: { reason: "" } });
    });
    await log.settled();
    expect([...kept.values()].map(({ outcome }) => outcome)).toEqual(["", "", ""]);
    log.ended(goal);
    await log.settled();
    expect([...kept.values()].map(({ chosen, outcome }) => [chosen, outcome])).toEqual([
      ["ask the person", "answered"],
      ["procedure proxy", "failed: Do install (pkg.install): NOT_FOUND: there is no such package"],
      ["gateway claude (c)", "completed"],
    ]);
  });

  it("is no trouble to goals while it cannot be stored", async () => {
    const store = async () => {
      throw new AiosError("INTERNAL", "the disk is broken");
    };
    const log = openDecisionLog(store, { clock, log: silentLog }, new AbortController().signal);
    expect(() => log.ended(story())).not.toThrow();
    await log.settled();
  });
});
