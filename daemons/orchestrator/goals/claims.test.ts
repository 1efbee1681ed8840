import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, openBench, planOf, step } from "../testing/goals-bench.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a goal", () => {
  it("that two go on with at once is gone on with once, and the second is told", async () => {
    const id = await bench.submit("something");
    await bench.goals.pause(id);
    const both = await Promise.allSettled([bench.goals.unpause(id), bench.goals.unpause(id)]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    expect(await bench.nothingMore()).toBe(true);
  });

  it("that two answer at once goes on with the first answer, once, and the second is told", async () => {
    bench.draft = ({ answers }) => (answers.length === 0 ? { question: "Which?" } : planOf(step("one")));
    const id = await bench.submit("something");
    await bench.until(id, "awaiting_input");
    const both = await Promise.allSettled([
      bench.goals.answer(id, "this", "admin"),
      bench.goals.answer(id, "that", "admin"),
    ]);
    expect(both).toMatchObject([
      { status: "fulfilled" },
      { status: "rejected", reason: { code: "FAILED_PRECONDITION" } },
    ]);
    await bench.report((await bench.next()).taskId);
    expect((await bench.until(id, "completed")).questions).toEqual([{ question: "Which?", answer: "this" }]);
    expect(bench.asked).toHaveLength(2);
    expect(await bench.nothingMore()).toBe(true);
  });

  it("that is cancelled while it is answered ends cancelled, and nothing is done for it", async () => {
    bench.draft = ({ answers }) => (answers.length === 0 ? { question: "Which?" } : planOf(step("one")));
    const id = await bench.submit("something");
    await bench.until(id, "awaiting_input");
    // Whichever comes first.
    await Promise.allSettled([bench.goals.answer(id, "this", "admin"), bench.goals.cancel(id, "a test")]);
    expect(bench.ports.goals.get(id)).toMatchObject({ state: "cancelled" });
    expect(await bench.nothingMore()).toBe(true);
  });

  it("are gone on with once, though a person goes on with one while they are released", async () => {
    const id = await bench.submit("x");
    await bench.goals.pause(id);
    await bench.goals.hold("an emergency");
    await Promise.all([bench.goals.release(), bench.goals.unpause(id)]);
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    expect(await bench.nothingMore()).toBe(true);
  });
});
