import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { phaseOf } from "../goal.ts";
import { type Bench, openBench, planOf, step } from "../testing/goals-bench.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a goal", () => {
  it("with a dedupe key is the unfinished one that has it", async () => {
    const first = await bench.submit("watch the disk", { dedupeKey: "disk" });
    expect(await bench.submit("watch the disk again", { dedupeKey: "disk" })).toBe(first);
    await bench.report((await bench.next()).taskId);
    await bench.until(first, "completed");
    expect(await bench.submit("watch the disk", { dedupeKey: "disk" })).not.toBe(first);
  });

  it("with an id of its giver's is given once, also when it is over; the id of another goal is refused", async () => {
    const id = "01a22c55-0000-7000-8000-000000000001";
    expect(await bench.submit("watch the disk", { id })).toBe(id);
    expect(await Promise.all([1, 2].map(() => bench.submit(" watch the disk", { id })))).toEqual([id, id]);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    expect(await bench.submit("watch the disk", { id })).toBe(id);
    expect(await bench.nothingMore()).toBe(true);
    await expect(bench.submit("watch the door", { id })).rejects.toThrow(/is another goal's id; choose your own/);
    await expect(bench.submit("watch the disk", { id, source: "operator:p" })).rejects.toThrow(/another goal's id/);
    await expect(bench.submit("watch the disk", { id: "one" })).rejects.toThrow(
      /x-aios-execution-id: "one" is no UUID/,
    );
  });

  it("begins when those that it depends on are completed, and fails when one is not", async () => {
    const first = await bench.submit("first");
    const second = await bench.submit("second", { dependsOn: [first] });
    expect((await bench.goals.find(second)).state).toBe("pending");
    await bench.report((await bench.next()).taskId);
    await bench.report((await bench.next()).taskId);
    await bench.until(second, "completed");
    const third = await bench.submit("third");
    const fourth = await bench.submit("fourth", { dependsOn: [third] });
    await bench.goals.cancel(third, "a test");
    await expect(bench.until(fourth, "completed")).rejects.toThrow(/which it depends on, is cancelled/);
    await expect(bench.submit("fifth", { dependsOn: ["no-such-goal"] })).rejects.toThrow(/no-such-goal/);
  });

  it("asks, waits over a restart, and goes on with the answer", async () => {
    bench.draft = ({ answers }) => (answers.length === 0 ? { question: "Which port?" } : planOf(step("one")));
    const id = await bench.submit("make a proxy");
    await bench.until(id, "awaiting_input");
    await bench.goals.end();
    await bench.open();
    expect(bench.waits).toEqual([`goal "make a proxy" asks: Which port? (aiosctl goal answer ${id} "…")`]);
    expect(await bench.until(id, "awaiting_input")).toMatchObject({ questions: [{ question: "Which port?" }] });
    expect(bench.goals.waiting()).toEqual([`goal "make a proxy" asks: Which port? (aiosctl goal answer ${id} "…")`]);
    await expect(bench.goals.answer(id, "  ", "admin")).rejects.toThrow(/answer/);
    await bench.goals.answer(id, "8080", "admin");
    expect(bench.goals.waiting()).toEqual([]);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    expect(bench.asked.at(-1)?.objective.answers).toEqual([{ question: "Which port?", answer: "8080" }]);
    await expect(bench.goals.answer(id, "again", "admin")).rejects.toThrow(/it is completed/);
  });

  it("goes on while the grants of what is done are being ended, and is closed only after them", async () => {
    bench.draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const held = Promise.withResolvers<void>();
    bench.ports.revokes = held.promise;
    const id = await bench.submit("two things");
    await bench.report((await bench.next()).taskId);
    await bench.report((await bench.next()).taskId);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await bench.goals.find(id)).toMatchObject({
      state: "in_progress",
      tasks: [{ state: "completed" }, { state: "completed" }],
    });
    expect(bench.ports.granted.size).toBe(2);
    held.resolve();
    await bench.until(id, "completed");
    expect(bench.ports.granted.size).toBe(0);
  });

  it("whose task is lost tries it again only when its grants are ended", async () => {
    const held = Promise.withResolvers<void>();
    bench.ports.revokes = held.promise;
    const id = await bench.submit("one thing");
    await bench.next();
    bench.assignments.lose("system", "it died");
    const again = bench.next();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect((await bench.goals.find(id)).tasks).toMatchObject([{ state: "in_progress", failures: [] }]);
    held.resolve();
    await bench.report((await again).taskId);
    await bench.until(id, "completed");
  });

  it("that is paused lets what runs end, begins nothing, and goes on when told", async () => {
    bench.draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const id = await bench.submit("two things");
    const first = await bench.next();
    const paused = bench.goals.pause(id);
    await bench.report(first.taskId);
    await paused;
    expect((await bench.goals.find(id)).tasks.map(({ state }) => state)).toEqual(["completed", "pending"]);
    expect((await bench.goals.find(id)).state).toBe("paused");
    await bench.goals.end();
    await bench.open();
    await expect(bench.goals.pause(id)).rejects.toThrow(/it is paused/);
    await bench.goals.unpause(id);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
  });

  it("that is paused can be cancelled", async () => {
    const id = await bench.submit("something");
    await bench.goals.pause(id);
    expect((await bench.goals.find(id)).state).toBe("paused");
    await bench.goals.cancel(id, "a test");
    expect(await bench.goals.find(id)).toMatchObject({ state: "cancelled", result: "cancelled by a test" });
  });
});

describe("a plan", () => {
  it("with faults goes back once with them, and the goal fails with what is still wrong", async () => {
    bench.draft = () => planOf(step("one", { tool: "no.tool" }));
    const id = await bench.submit("x");
    await expect(bench.until(id, "completed")).rejects.toThrow(/failed: .*there is no tool no\.tool/);
    expect(bench.asked.map(({ faults }) => faults)).toEqual([[], ["step one: there is no tool no.tool"]]);
    expect(bench.decisions).toMatchObject([{ options: [{ source: "twin", level: "tactical" }] }]);
  });

  it("of a model names what it changes itself, not by what a step has read", async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of ours
    bench.draft = () => planOf(step("one"), step("two", { needs: ["one"], input: { what: "${one.said}" } }));
    const id = await bench.submit("x");
    await expect(bench.until(id, "completed")).rejects.toThrow(/step two: fs\.say: what must be written out/);
  });

  it("that is mended runs", async () => {
    bench.draft = (_, faults) => planOf(step("one", faults.length === 0 ? { needs: ["zero"] } : {}));
    const id = await bench.submit("x");
    await bench.report((await bench.next()).taskId);
    expect((await bench.until(id, "completed")).plan).toMatchObject({ origin: "test", level: "tactical", round: 0 });
  });

  it("that fails half-way is followed by another that keeps what is done", async () => {
    bench.draft = ({ failure, done }) => {
      if (failure === "") return planOf(step("one"), step("two", { needs: ["one"] }));
      expect(done).toMatchObject([{ step: "one", output: { said: "from one" } }]);
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of ours
      return planOf(step("other", { needs: ["one"], tool: "fs.shout", input: { what: "${one.said}" } }));
    };
    const id = await bench.submit("x");
    await bench.report((await bench.next()).taskId, "from one");
    await bench.fail((await bench.next()).taskId);
    const other = await bench.next();
    expect(other.input).toEqual({ what: "from one" });
    await bench.report(other.taskId);
    const goal = await bench.until(id, "completed");
    expect(goal.tasks.map(({ step, state }) => [step, state])).toEqual([
      ["one", "completed"],
      ["two", "cancelled"],
      ["other", "completed"],
    ]);
    expect(goal.tasks[1]?.error).toMatch(/another plan is followed; it had failed: NOT_FOUND/);
  });

  it("that fails half-way may be followed by a question, whose answer outlives a restart and goes on", async () => {
    bench.draft = ({ failure, answers }) => {
      if (failure === "") return planOf(step("one"), step("two", { needs: ["one"] }));
      return answers.length === 0 ? { question: "Where else?" } : planOf(step("other", { needs: ["one"] }));
    };
    const id = await bench.submit("x");
    await bench.report((await bench.next()).taskId);
    await bench.fail((await bench.next()).taskId);
    expect(await bench.until(id, "awaiting_input")).toMatchObject({ questions: [{ question: "Where else?" }] });
    await bench.goals.end();
    await bench.open();
    await bench.goals.answer(id, "there", "admin");
    await bench.goals.end();
    await bench.open();
    await bench.report((await bench.next()).taskId);
    const goal = await bench.until(id, "completed");
    expect(goal.tasks.map(({ step, state }) => [step, state])).toEqual([
      ["one", "completed"],
      ["two", "cancelled"],
      ["other", "completed"],
    ]);
    expect(bench.asked.at(-1)?.objective).toMatchObject({
      failure: expect.stringMatching(/^Do two .*NOT_FOUND/),
      answers: [{ question: "Where else?", answer: "there" }],
      done: [{ step: "one" }],
    });
  });

  it("that is being replaced when the orchestrator dies is replaced by the next, and nothing is done again", async () => {
    bench.draft = ({ failure }) =>
      failure === "" ? planOf(step("one"), step("two", { needs: ["one"] })) : planOf(step("other", { needs: ["one"] }));
    const { putTask } = bench.ports.store;
    bench.ports.store.putTask = async (task) => {
      bench.ports.away ||= task.step === "other";
      return await putTask(task);
    };
    const id = await bench.submit("x");
    await bench.report((await bench.next()).taskId);
    await bench.fail((await bench.next()).taskId);
    await vi.waitFor(() => expect(bench.ports.away).toBe(true));
    expect(phaseOf(await bench.goals.find(id))).toMatch(/^looks for another plan: Do two .*NOT_FOUND/);
    const { state, tasks } = (await bench.ports.store.find(id)) ?? {};
    expect([state, tasks?.map((task) => task.state)]).toEqual(["planning", ["completed", "cancelled"]]);
    await bench.goals.end();
    bench.ports.away = false;
    bench.ports.store.putTask = putTask;
    await bench.open();
    await bench.report((await bench.next()).taskId);
    expect((await bench.until(id, "completed")).tasks.map(({ step }) => step)).toEqual(["one", "two", "other"]);
    expect(bench.asked.at(-1)?.objective.failure).toMatch(/^Do two .*NOT_FOUND/);
  });

  it("that fails half-way and is asked about can be cancelled, with what failed left as it was", async () => {
    bench.draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { question: "Where else?" });
    const id = await bench.submit("x");
    await bench.fail((await bench.next()).taskId);
    await bench.until(id, "awaiting_input");
    await bench.goals.cancel(id, "a test");
    expect(await bench.goals.find(id)).toMatchObject({ state: "cancelled", tasks: [{ step: "one", state: "failed" }] });
  });

  it("of the machine's own that fails half-way asks nobody, and lets the next of its kind begin", async () => {
    bench.draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { question: "Where else?" });
    const own = { source: "trigger:service-down", dedupeKey: "nginx" };
    const id = await bench.submit("restart nginx", own);
    await bench.fail((await bench.next()).taskId);
    await expect(bench.until(id, "awaiting_input")).rejects.toThrow(/failed: Do one .*NOT_FOUND/);
    expect((await bench.goals.find(id)).decisions.at(-1)).toMatchObject({ chosen: "give up" });
    expect(await bench.submit("restart nginx", own)).not.toBe(id);
  });

  it("that was being closed when the orchestrator dies is not called completed", async () => {
    bench.draft = () => planOf(step("one"), step("two", { needs: ["one"] }));
    const { putTask } = bench.ports.store;
    const id = await bench.submit("x");
    await bench.report((await bench.next()).taskId);
    await bench.next();
    bench.ports.store.putTask = async (task) => {
      await putTask(task);
      bench.ports.away ||= task.state === "cancelled";
    };
    const cancelled = bench.goals.cancel(id, "a test");
    await vi.waitFor(() => expect(bench.ports.away).toBe(true));
    expect((await bench.ports.store.find(id))?.state).toBe("in_progress");
    const stored = structuredClone(bench.ports.goals.get(id));
    bench.ports.away = false;
    bench.ports.store.putTask = putTask;
    await cancelled;
    await bench.goals.end();
    if (stored !== undefined) bench.ports.goals.set(id, stored);
    await bench.open();
    await expect(bench.until(id, "completed")).rejects.toThrow("failed: cancelled by a test");
  });

  it("that fails half-way and has no other ends the goal with what has failed", async () => {
    bench.draft = ({ failure }) => (failure === "" ? planOf(step("one")) : { reason: "nothing else is known" });
    const id = await bench.submit("x");
    await bench.fail((await bench.next()).taskId);
    await expect(bench.until(id, "completed")).rejects.toThrow(/failed: Do one .*NOT_FOUND/);
  });

  it("that fails again and again ends the goal with the reason", async () => {
    bench.draft = ({ failure }) => planOf(step(failure === "" ? "one" : `again${failure.length}`));
    const id = await bench.submit("x");
    for (let tries = 0; tries < 3; tries += 1) await bench.fail((await bench.next()).taskId);
    await expect(bench.until(id, "completed")).rejects.toThrow(/failed: Do again/);
    expect(bench.asked).toHaveLength(3);
  });
});

describe("all goals", () => {
  it("stand still while held, and go on when released", async () => {
    const id = await bench.submit("x");
    await bench.next();
    await bench.goals.hold("an emergency");
    const late = await bench.submit("y");
    expect((await bench.goals.find(late)).state).toBe("planning");
    await bench.goals.release();
    await bench.report((await bench.next()).taskId);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    await bench.until(late, "completed");
  });
});
