import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { AgentConfig } from "./agent-config.ts";
import { openAgents } from "./agents.ts";
import { type Assignments, openAssignments } from "./assignments.ts";
import { openChanges } from "./changes.ts";
import { planCheck } from "./check-plan.ts";
import { type GoalState, phaseOf } from "./goal.ts";
import { type Goals, openGoals } from "./goals.ts";
import type { Draft, Objective, Plan, PlannedStep } from "./plan.ts";
import { plannerOver } from "./planner.ts";
import { type PortTwins, portTwins } from "./port-twins.ts";
import type { GoalDecision } from "./world.ts";

const agent: AgentConfig = {
  name: "system",
  type: "system",
  role: "r",
  brief: "b",
  namespaces: ["fs"],
  standing: [],
  requestable: [],
  concurrentTasksMax: 5,
  taskTimeoutMs: 1_000,
  heartbeatIntervalMs: 1_000,
  limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
  restart: { max: 1, windowMs: 1_000, delayMs: 1_000 },
};

const step = (name: string, more: Partial<PlannedStep> = {}): PlannedStep => ({
  name,
  description: `Do ${name}`,
  tool: "fs.say",
  agent: "",
  needs: [],
  input: { what: name },
  expect: {},
  also: [],
  ...more,
});

const planOf = (...steps: PlannedStep[]): Plan => ({
  origin: "test",
  procedure: "",
  level: "tactical",
  model: "m",
  why: "asked to",
  parameters: {},
  result: "done",
  steps,
});

let ports: PortTwins;
let goals: Goals;
let assignments: Assignments;
let asked: { objective: Objective; faults: readonly string[] }[];
let decisions: GoalDecision[];
let draft: (objective: Objective, faults: readonly string[]) => Draft;

/** Goals over what is stored, as after a start of the orchestrator. */
async function open() {
  assignments = openAssignments(() => {});
  const agents = openAgents([agent], systemClock, { lost: assignments.lose, hung: () => {} });
  agents.register("system");
  const covers = (namespace: string, name: string) => agents.covers({ namespace, agent: name, priority: 0 });
  const source = {
    name: "twin",
    level: "tactical",
    draft: async (objective: Objective, faults: readonly string[]) => {
      asked.push({ objective, faults });
      return draft(objective, faults);
    },
  } as const;
  goals = openGoals({
    ...{ ...ports, agents, assignments, clock: systemClock, log: silentLog, random: () => 0 },
    planner: plannerOver([source], planCheck({ find: ports.tools.find, covers })),
    changes: openChanges(),
    decided: (decision) => decisions.push(decision),
    ended: () => {},
  });
  await goals.resume();
}

beforeEach(async () => {
  ports = portTwins();
  asked = [];
  decisions = [];
  draft = () => planOf(step("one"));
  await open();
});

afterEach(async () => {
  await goals.end();
  assignments.end();
});

const submit = (description: string, more: { dependsOn?: string[]; dedupeKey?: string; source?: string } = {}) =>
  goals.submit({
    ...{ description, priority: 2, tags: [], metadata: "", source: "operator:o", dependsOn: [], dedupeKey: "" },
    ...more,
  });

/** Resolves with the goal once it is in that state. */
async function until(id: string, state: GoalState) {
  for (;;) {
    const goal = await goals.find(id);
    if (goal.state === state) return goal;
    if (["completed", "failed", "cancelled"].includes(goal.state)) throw new Error(`${goal.state}: ${goal.result}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const next = async () => {
  const handout = await assignments.next("system", 2_000, new AbortController().signal);
  if (handout === undefined) throw new Error("no task came");
  return handout;
};
const report = (taskId: string, said = "x") =>
  assignments.report("system", { taskId, success: true, output: JSON.stringify({ said }), error: "" });
const fail = (taskId: string) =>
  assignments.report("system", { taskId, success: false, output: "", error: "NOT_FOUND: nothing there" });

describe("a goal", () => {
  it("with a dedupe key is the unfinished one that has it", async () => {
    const first = await submit("watch the disk", { dedupeKey: "disk" });
    expect(await submit("watch the disk again", { dedupeKey: "disk" })).toBe(first);
    await report((await next()).taskId);
    await until(first, "completed");
    expect(await submit("watch the disk", { dedupeKey: "disk" })).not.toBe(first);
  });

  it("begins when those that it depends on are completed, and fails when one is not", async () => {
    const first = await submit("first");
    const second = await submit("second", { dependsOn: [first] });
    expect((await goals.find(second)).state).toBe("pending");
    await report((await next()).taskId);
    await report((await next()).taskId);
    await until(second, "completed");
    const third = await submit("third");
    const fourth = await submit("fourth", { dependsOn: [third] });
    await goals.cancel(third, "a test");
    await expect(until(fourth, "completed")).rejects.toThrow(/which it depends on, is cancelled/);
    await expect(submit("fifth", { dependsOn: ["no-such-goal"] })).rejects.toThrow(/no-such-goal/);
  });

  it("asks, waits over a restart, and goes on with the answer", async () => {
    draft = ({ answers }) => (answers.length === 0 ? { question: "Which port?" } : planOf(step("one")));
    const id = await submit("make a proxy");
    await until(id, "awaiting_input");
    await goals.end();
    await open();
    expect(await until(id, "awaiting_input")).toMatchObject({ questions: [{ question: "Which port?" }] });
    expect(goals.waiting()).toEqual([`goal "make a proxy" asks: Which port? (aiosctl goal answer ${id} "…")`]);
    await expect(goals.answer(id, "  ")).rejects.toThrow(/answer/);
    await goals.answer(id, "8080");
    expect(goals.waiting()).toEqual([]);
    await report((await next()).taskId);
    await until(id, "completed");
    expect(asked.at(-1)?.objective.answers).toEqual([{ question: "Which port?", answer: "8080" }]);
    await expect(goals.answer(id, "again")).rejects.toThrow(/it is completed/);
  });

  it("goes on while the grants of what is done are being ended, and is closed only after them", async () => {
    draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const held = Promise.withResolvers<void>();
    ports.revokes = held.promise;
    const id = await submit("two things");
    await report((await next()).taskId);
    await report((await next()).taskId);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await goals.find(id)).toMatchObject({
      state: "in_progress",
      tasks: [{ state: "completed" }, { state: "completed" }],
    });
    expect(ports.granted.size).toBe(2);
    held.resolve();
    await until(id, "completed");
    expect(ports.granted.size).toBe(0);
  });

  it("whose task is lost tries it again only when its grants are ended", async () => {
    const held = Promise.withResolvers<void>();
    ports.revokes = held.promise;
    const id = await submit("one thing");
    await next();
    assignments.lose("system", "it died");
    const again = next();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect((await goals.find(id)).tasks).toMatchObject([{ state: "in_progress", failures: [] }]);
    held.resolve();
    await report((await again).taskId);
    await until(id, "completed");
  });

  it("that is paused lets what runs end, begins nothing, and goes on when told", async () => {
    draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const id = await submit("two things");
    const first = await next();
    const paused = goals.pause(id);
    await report(first.taskId);
    await paused;
    expect((await goals.find(id)).tasks.map(({ state }) => state)).toEqual(["completed", "pending"]);
    expect((await goals.find(id)).state).toBe("paused");
    await goals.end();
    await open();
    await expect(goals.pause(id)).rejects.toThrow(/it is paused/);
    await goals.unpause(id);
    await report((await next()).taskId);
    await until(id, "completed");
  });

  it("that is paused can be cancelled", async () => {
    const id = await submit("something");
    await goals.pause(id);
    expect((await goals.find(id)).state).toBe("paused");
    await goals.cancel(id, "a test");
    expect(await goals.find(id)).toMatchObject({ state: "cancelled", result: "cancelled by a test" });
  });
});

describe("a plan", () => {
  it("with faults goes back once with them, and the goal fails with what is still wrong", async () => {
    draft = () => planOf(step("one", { tool: "no.tool" }));
    const id = await submit("x");
    await expect(until(id, "completed")).rejects.toThrow(/failed: .*there is no tool no\.tool/);
    expect(asked.map(({ faults }) => faults)).toEqual([[], ["step one: there is no tool no.tool"]]);
    expect(decisions).toMatchObject([{ options: [{ source: "twin", level: "tactical" }] }]);
  });

  it("of a model names what it changes itself, not by what a step has read", async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of ours
    draft = () => planOf(step("one"), step("two", { needs: ["one"], input: { what: "${one.said}" } }));
    const id = await submit("x");
    await expect(until(id, "completed")).rejects.toThrow(/step two: fs\.say: what must be written out/);
  });

  it("that is mended runs", async () => {
    draft = (_, faults) => planOf(step("one", faults.length === 0 ? { needs: ["zero"] } : {}));
    const id = await submit("x");
    await report((await next()).taskId);
    expect((await until(id, "completed")).plan).toMatchObject({ origin: "test", level: "tactical", round: 0 });
  });

  it("that fails half-way is followed by another that keeps what is done", async () => {
    draft = ({ failure, done }) => {
      if (failure === "") return planOf(step("one"), step("two", { needs: ["one"] }));
      expect(done).toMatchObject([{ step: "one", output: { said: "from one" } }]);
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of ours
      return planOf(step("other", { needs: ["one"], tool: "fs.shout", input: { what: "${one.said}" } }));
    };
    const id = await submit("x");
    await report((await next()).taskId, "from one");
    await fail((await next()).taskId);
    const other = await next();
    expect(other.input).toEqual({ what: "from one" });
    await report(other.taskId);
    const goal = await until(id, "completed");
    expect(goal.tasks.map(({ step, state }) => [step, state])).toEqual([
      ["one", "completed"],
      ["two", "cancelled"],
      ["other", "completed"],
    ]);
    expect(goal.tasks[1]?.error).toMatch(/another plan is followed; it had failed: NOT_FOUND/);
  });

  it("that fails half-way may be followed by a question, whose answer outlives a restart and goes on", async () => {
    draft = ({ failure, answers }) => {
      if (failure === "") return planOf(step("one"), step("two", { needs: ["one"] }));
      return answers.length === 0 ? { question: "Where else?" } : planOf(step("other", { needs: ["one"] }));
    };
    const id = await submit("x");
    await report((await next()).taskId);
    await fail((await next()).taskId);
    expect(await until(id, "awaiting_input")).toMatchObject({ questions: [{ question: "Where else?" }] });
    await goals.end();
    await open();
    await goals.answer(id, "there");
    await goals.end();
    await open();
    await report((await next()).taskId);
    const goal = await until(id, "completed");
    expect(goal.tasks.map(({ step, state }) => [step, state])).toEqual([
      ["one", "completed"],
      ["two", "cancelled"],
      ["other", "completed"],
    ]);
    expect(asked.at(-1)?.objective).toMatchObject({
      failure: expect.stringMatching(/^Do two .*NOT_FOUND/),
      answers: [{ question: "Where else?", answer: "there" }],
      done: [{ step: "one" }],
    });
  });

  it("that is being replaced when the orchestrator dies is replaced by the next, and nothing is done again", async () => {
    draft = ({ failure }) =>
      failure === "" ? planOf(step("one"), step("two", { needs: ["one"] })) : planOf(step("other", { needs: ["one"] }));
    const { putTask } = ports.store;
    ports.store.putTask = async (task) => {
      ports.away ||= task.step === "other";
      return await putTask(task);
    };
    const id = await submit("x");
    await report((await next()).taskId);
    await fail((await next()).taskId);
    await vi.waitFor(() => expect(ports.away).toBe(true));
    expect(phaseOf(await goals.find(id))).toMatch(/^looks for another plan: Do two .*NOT_FOUND/);
    const { state, tasks } = (await ports.store.find(id)) ?? {};
    expect([state, tasks?.map((task) => task.state)]).toEqual(["planning", ["completed", "cancelled"]]);
    await goals.end();
    ports.away = false;
    ports.store.putTask = putTask;
    await open();
    await report((await next()).taskId);
    expect((await until(id, "completed")).tasks.map(({ step }) => step)).toEqual(["one", "two", "other"]);
    expect(asked.at(-1)?.objective.failure).toMatch(/^Do two .*NOT_FOUND/);
  });

  it("that fails half-way and is asked about can be cancelled, with what failed left as it was", async () => {
    draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { question: "Where else?" });
    const id = await submit("x");
    await fail((await next()).taskId);
    await until(id, "awaiting_input");
    await goals.cancel(id, "a test");
    expect(await goals.find(id)).toMatchObject({ state: "cancelled", tasks: [{ step: "one", state: "failed" }] });
  });

  it("of the machine's own that fails half-way asks nobody, and lets the next of its kind begin", async () => {
    draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { question: "Where else?" });
    const own = { source: "trigger:service-down", dedupeKey: "nginx" };
    const id = await submit("restart nginx", own);
    await fail((await next()).taskId);
    await expect(until(id, "awaiting_input")).rejects.toThrow(/failed: Do one .*NOT_FOUND/);
    expect((await goals.find(id)).decisions.at(-1)).toMatchObject({ chosen: "give up" });
    expect(await submit("restart nginx", own)).not.toBe(id);
  });

  it("that was being closed when the orchestrator dies is not called completed", async () => {
    draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const { putTask } = ports.store;
    const id = await submit("x");
    await report((await next()).taskId);
    await next();
    ports.store.putTask = async (task) => {
      await putTask(task);
      ports.away ||= task.state === "cancelled";
    };
    const cancelled = goals.cancel(id, "a test");
    await vi.waitFor(() => expect(ports.away).toBe(true));
    expect((await ports.store.find(id))?.state).toBe("in_progress");
    const stored = structuredClone(ports.goals.get(id));
    ports.away = false;
    ports.store.putTask = putTask;
    await cancelled;
    await goals.end();
    if (stored !== undefined) ports.goals.set(id, stored);
    await open();
    await expect(until(id, "completed")).rejects.toThrow("failed: cancelled by a test");
  });

  it("that fails half-way and has no other ends the goal with what has failed", async () => {
    draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { reason: "nothing else is known" });
    const id = await submit("x");
    await fail((await next()).taskId);
    await expect(until(id, "completed")).rejects.toThrow(/failed: Do one .*NOT_FOUND/);
  });

  it("that fails again and again ends the goal with the reason", async () => {
    draft = ({ failure }) => planOf(step(failure === "" ? "one" : `again${failure.length}`));
    const id = await submit("x");
    for (let tries = 0; tries < 3; tries += 1) await fail((await next()).taskId);
    await expect(until(id, "completed")).rejects.toThrow(/failed: Do again/);
    expect(asked).toHaveLength(3);
  });
});

describe("all goals", () => {
  it("stand still while held, and go on when released", async () => {
    const id = await submit("x");
    await next();
    await goals.hold("an emergency");
    const late = await submit("y");
    expect((await goals.find(late)).state).toBe("planning");
    await goals.release();
    await report((await next()).taskId);
    await report((await next()).taskId);
    await until(id, "completed");
    await until(late, "completed");
  });
});
