import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { service } from "#lib/rpc/service";
import type { Task } from "#proto/aios/common";
import { GoalControlService, GoalView } from "#proto/aios/goal_control";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { openScreen } from "../../screen.ts";
import { init, openTwin, type Twin } from "../../testing/twins.ts";
import { followTree } from "./goal-follow.ts";
import { treeLines } from "./goal-tree.ts";

let twin: Twin;
beforeEach(async () => {
  twin = openTwin();
  await twin.daemon("init", init());
});
afterEach(() => twin.close());

const goal = (status: string) => ({ id: "g1", description: "check health", status });
const plan = { origin: "procedure health", level: "reactive", round: 1, why: "the goal reads as it" };
const task = (id: string, status: string, dependsOn: string[] = [], more: Partial<Task> = {}) => ({
  ...{ id, status, dependsOn, description: `step ${id}`, assignedAgent: "monitor", requiredTools: ["monitor.cpu"] },
  ...more,
});
const view = (status: string, tasks: object[] = [], more: object = {}) =>
  GoalView.fromPartial({ goal: goal(status), tasks, ...(tasks.length > 0 && { plan }), ...more });

const done = { startedAt: 1_000, completedAt: 1_120 };
const course = (end: "completed" | "failed"): GoalView[] => [
  view("planning"),
  view("in_progress", [task("a", "in_progress"), task("b", "pending", ["a"])]),
  view("in_progress", [task("a", "completed", [], done), task("b", "in_progress", ["a"])]),
  view(end, [task("a", "completed", [], done), task("b", end, ["a"], { error: end === "failed" ? "no space" : "" })], {
    result: end === "failed" ? "step b: no space" : "All is well.",
  }),
];

const control = (views: readonly GoalView[], asked: unknown[] = []) =>
  service(GoalControlService, {
    async *watchGoal() {
      yield* views;
    },
    pauseGoal: ({ id }) => ({ success: true, message: `goal ${id} is paused` }),
    resumeGoal: ({ id }) => ({ success: true, message: `goal ${id} goes on` }),
    answerGoal: (answer) => {
      asked.push(answer);
      return { success: true, message: "goes on" };
    },
  });

const submitting = (asked: unknown[] = []) =>
  service(OrchestratorService, {
    submitGoal: (request) => {
      asked.push(request);
      return { id: "g1" };
    },
  });

describe("goal submit --follow", () => {
  it("says each change in a line where there is no terminal", async () => {
    const asked: unknown[] = [];
    await twin.daemon("orchestrator", submitting(asked), control(course("completed")));
    const line = ["goal", "submit", "check health", "--after", "g0", "--tag", "t", "-p", "high", "--follow"];
    const { code, out } = await twin.aiosctl(...line);
    expect(code).toBe(0);
    expect(asked[0]).toMatchObject({ dependsOn: ["g0"], tags: ["t"], priority: 1 });
    expect(out.replace(/after [\d.]+ m?s/, "after T").split("\n")).toEqual([
      "goal g1: check health",
      "planning",
      "planned by procedure health (reactive) as 2 tasks: the goal reads as it",
      "  monitor monitor.cpu: step a: in progress",
      "in progress",
      "  monitor monitor.cpu: step a: completed (120 ms)",
      "  monitor monitor.cpu: step b: in progress",
      "  monitor monitor.cpu: step b: completed",
      "completed after T: All is well.",
      "",
    ]);
  });

  it("gives a document for each change in JSON, and status 1 when the goal failed", async () => {
    await twin.daemon("orchestrator", submitting(), control(course("failed")));
    const { code, out } = await twin.aiosctl("goal", "follow", "g1", "--json");
    expect(code).toBe(1);
    const documents = out.trimEnd().split("\n");
    expect(documents.map((line) => JSON.parse(line).goal.status)).toEqual([
      "planning",
      "in_progress",
      "in_progress",
      "failed",
    ]);
  });

  it("shows what is asked and how to answer, and answers", async () => {
    const asked: unknown[] = [];
    const question = { questions: [{ question: "Which port?", answer: "" }] };
    const views = [view("awaiting_input", [], question), ...course("completed")];
    await twin.daemon("orchestrator", submitting(), control(views, asked));
    const { out } = await twin.aiosctl("goal", "follow", "g1");
    expect(out).toContain('it asks: Which port?\n  answer with: aiosctl goal answer g1 "…"\n');
    expect((await twin.aiosctl("goal", "answer", "g1", "8081")).out).toBe("goes on\n");
    expect(asked).toEqual([{ goalId: "g1", answer: "8081" }]);
    expect((await twin.aiosctl("goal", "pause", "g1")).out).toBe("goal g1 is paused\n");
    expect((await twin.aiosctl("goal", "resume", "g1", "--follow")).code).toBe(0);
  });
});

describe("goal known", () => {
  const listKnownGoals = () => ({
    goals: [
      {
        name: "backup",
        summary: "Makes a backup.",
        phrases: ["back up {path}", "make a backup of {path}"],
        learned: false,
      },
      { name: "ping", summary: "Tells whether a host answers.", phrases: ["ping {host}"], learned: false },
    ],
  });

  it("tells one way to say each, and all ways of those that speak of a word", async () => {
    await twin.daemon("orchestrator", service(GoalControlService, { listKnownGoals }));
    const all = await twin.aiosctl("goal", "known");
    expect(all.out).toMatch(/back up \{path\} +Makes a backup\.\nping/);
    expect(all.out).not.toContain("make a backup of");
    const some = await twin.aiosctl("goal", "known", "Backup");
    expect(some.out).toContain("make a backup of {path}");
    expect(some.out).not.toContain("ping");
    expect((await twin.aiosctl("goal", "known", "poetry")).out).toBe("none speaks of poetry\n");
  });
});

describe("a followed goal", () => {
  it("is waited for when the machine goes away in between, and given up in the end", async () => {
    const clock = new ManualClock();
    const pass = setInterval(() => void clock.advance(1_000), 1);
    let calls = 0;
    const watchGoal = async function* () {
      calls += 1;
      if (calls === 1) yield* course("completed").slice(0, 2);
      if (calls < 4 || calls > 4) throw new AiosError("UNAVAILABLE", "the machine restarts");
      yield* course("completed").slice(2);
    };
    const notes: string[] = [];
    const out = { json: false, line() {}, table() {}, document() {}, note: (text: string) => void notes.push(text) };
    const world = { out, clock, signal: new AbortController().signal };
    try {
      expect(await followTree("g1", { watchGoal }, world, false)).toBe(0);
      expect(notes).toEqual(["the machine does not answer; waiting for it"]);
      await expect(followTree("g1", { watchGoal }, world, false)).rejects.toThrow("the machine restarts");
      await expect(followTree("g1", { watchGoal }, world, true)).rejects.toThrow("the machine restarts");
      expect(calls).toBeGreaterThan(100);
    } finally {
      clearInterval(pass);
    }
  });

  it("says which call of it waits for the person, and how that is decided", async () => {
    const views = [
      view("in_progress", [task("a", "in_progress", [], { waitsFor: "t1" })]),
      ...course("completed").slice(-1),
    ];
    await twin.daemon("orchestrator", control(views));
    const { out } = await twin.aiosctl("goal", "follow", "g1");
    expect(out).toContain("monitor monitor.cpu: step a: in progress: waits for you: aiosctl approvals show t1\n");
  });

  it("is drawn over itself on a terminal, cut to its size", async () => {
    let written = "";
    const write = (text: string) => {
      written += text;
    };
    const screen = openScreen({ columns: 60, rows: 5, write });
    const views = course("completed");
    const out = { json: false, line: write, table() {}, document() {}, note() {} };
    const watchGoal = async function* () {
      yield* views;
    };
    const world = { out, screen, clock: new ManualClock(), signal: new AbortController().signal };
    expect(await followTree("g1", { watchGoal }, world, true)).toBe(0);
    const pictures = written.split("\u001b[0J").slice(1);
    expect(pictures).toHaveLength(views.length);
    // Each picture goes back over as many lines as the one before had.
    const heights = pictures.map((picture) => picture.split("\n").length - 1);
    expect(Math.max(...heights)).toBeLessThanOrEqual(5);
    expect(
      written
        .split("\u001b[")
        .flatMap((part) => /^(\d+)A/.exec(part)?.[1] ?? [])
        .map(Number),
    ).toEqual([2, 4, 4]);
    for (const line of written.split("\n")) expect(line.length).toBeLessThan(70);
  });
});

describe("the tree", () => {
  it("puts each task under the one that it waits for longest, with its state and time", () => {
    const tasks = [
      task("a", "completed", [], done),
      task("b", "in_progress", ["a"]),
      task("c", "pending", ["a"]),
      task("d", "pending", ["a", "c"]),
      task("e", "failed", [], { error: "no such thing" }),
    ];
    const lines = treeLines(view("in_progress", tasks, { progressPercent: 20 }), () => 2_500);
    expect(lines.slice(0, 3)).toEqual([
      "goal g1: check health",
      "in progress, 20 % done",
      "planned by procedure health (reactive) as 5 tasks: the goal reads as it",
    ]);
    expect(lines.slice(4)).toEqual([
      expect.stringMatching(/^✓ step a +monitor +monitor\.cpu +completed +120 ms$/),
      expect.stringMatching(/^├─ ▶ step b +monitor +monitor\.cpu +in progress +2\.5 s$/),
      expect.stringMatching(/^└─ · step c +monitor +monitor\.cpu +pending$/),
      expect.stringMatching(/^ {3}└─ · step d +monitor +monitor\.cpu +pending$/),
      expect.stringMatching(/^✗ step e +monitor +monitor\.cpu +failed +no such thing$/),
    ]);
  });
});
