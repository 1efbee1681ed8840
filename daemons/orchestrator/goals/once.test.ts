import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Fate } from "../calls.ts";
import { executionIds } from "../goal.ts";
import type { PlannedStep } from "../plan.ts";
import { type Bench, openBench, planOf, step } from "../testing/goals-bench.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

const ended = (success: boolean, output: object | string, error = ""): Fate => ({
  kind: "ended",
  answer: {
    ...{ success, error, executionId: "e", durationMs: 1, backupId: "" },
    outputJson: Buffer.from(typeof output === "string" ? output : JSON.stringify(output)),
  },
});
const say = (code: string, text: string) =>
  bench.assignments.report("system", { taskId: task, success: false, output: "", error: text, errorCode: code });
let task = "";

/** There is no other plan when this one has failed. */
const plannedOnce =
  (planned: PlannedStep): Bench["draft"] =>
  ({ failure }) =>
    failure === "" ? planOf(planned) : { reason: "nothing else is known" };

/** A goal of one call of `tool` that an agent has fetched, under the id that is given back. */
async function begun(tool: string): Promise<{ id: string; execution: string }> {
  bench.draft = plannedOnce(step("one", { tool }));
  const id = await bench.submit("something");
  const handout = await bench.next();
  task = handout.taskId;
  return { id, execution: handout.executionId };
}
const idsOf = async (id: string) => executionIds((await bench.goals.find(id)).tasks[0] ?? { id: "", tries: 0 });

describe("a call of which nothing is heard", () => {
  it("is withdrawn by its id, and made anew under another when it never began", async () => {
    const { id, execution } = await begun("fs.once");
    bench.assignments.lose("system", "it died");
    const again = await bench.next();
    expect(bench.ports.withdrawn).toEqual([execution]);
    expect(again.executionId).not.toBe(execution);
    await bench.report(again.taskId);
    await bench.until(id, "completed");
    expect(await idsOf(id)).toEqual([execution, again.executionId]);
  });

  it("is as lost when its agent knows no more of it than that the tools went away", async () => {
    const { id, execution } = await begun("fs.once");
    bench.ports.fates = [ended(true, { said: "y" })];
    await say("UNAVAILABLE", "the connection was lost");
    await bench.until(id, "completed");
    expect(bench.ports.withdrawn).toEqual([execution]);
    expect(await bench.nothingMore()).toBe(true);
  });

  it("is what the ledger says of it, when it must not be repeated", async () => {
    const { id } = await begun("fs.once");
    bench.ports.fates = [{ kind: "running" }, ended(true, { said: "y" })];
    bench.assignments.lose("system", "it died");
    const goal = await bench.until(id, "completed");
    expect(goal.tasks[0]).toMatchObject({ output: { said: "y" }, tries: 1 });
    expect(bench.ports.withdrawn).toHaveLength(2);
  });

  it.each([
    ["interrupted", { kind: "interrupted" } as const, /was interrupted, and must not be repeated/],
    ["failed", ended(false, "", "ENOSPC"), /failed \(ENOSPC\), and must not be repeated/],
    ["too long", ended(true, { sha256: "a", bytes: 5_000, begins: "b" }), /more output than the ledger keeps/],
  ])("fails its task when it must not be repeated and is known to be %s", async (_, fate, reason) => {
    const { id } = await begun("fs.once");
    bench.ports.fates = [fate];
    bench.assignments.lose("system", "it died");
    const goal = await bench.until(id, "failed");
    expect(goal.result).toMatch(reason);
    expect(await bench.nothingMore()).toBe(true);
  });

  it("must give what the plan expects, also when the ledger tells it", async () => {
    bench.draft = plannedOnce(step("one", { tool: "fs.once", expect: { said: "z" } }));
    const id = await bench.submit("something");
    await bench.next();
    bench.ports.fates = [ended(true, { said: "y" })];
    bench.assignments.lose("system", "it died");
    expect((await bench.until(id, "failed")).result).toContain('said is "y", expected "z"');
  });

  it("is made anew where that is harmless, once it has ended", async () => {
    const { id } = await begun("fs.say");
    bench.ports.fates = [{ kind: "running" }, { kind: "interrupted" }];
    bench.assignments.lose("system", "it died");
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
    expect(bench.ports.withdrawn).toHaveLength(2);
  });

  it("is asked for by its id by the next orchestrator", async () => {
    const { id, execution } = await begun("fs.once");
    await bench.close();
    bench.ports.fates = [ended(true, { said: "y" })];
    await bench.open();
    await bench.until(id, "completed");
    expect(bench.ports.withdrawn).toEqual([execution]);
  });
});

describe("a call that waits for a person", () => {
  const waits = async () => {
    bench.assignments.waits("system", task, "an approval");
    await bench.settled();
  };

  it("is made again under the same id, whoever was killed, and hears what was decided", async () => {
    const { id, execution } = await begun("fs.once");
    await waits();
    bench.assignments.lose("system", "it died");
    expect(await bench.next()).toMatchObject({ executionId: execution });
    await bench.close();
    await bench.open();
    expect(bench.goals.waiting()).toEqual([expect.stringContaining("aiosctl approvals show an approval")]);
    expect(await bench.next()).toMatchObject({ executionId: execution, input: { what: "one" } });
    expect(bench.ports.withdrawn).toEqual([]);
    await bench.report(task);
    await bench.until(id, "completed");
    expect(bench.goals.waiting()).toEqual([]);
  });

  it("is told of once, however often it is asked for", async () => {
    await begun("fs.once");
    await waits();
    for (let times = 0; times < 3; times += 1) {
      bench.assignments.lose("system", "it died");
      await bench.next();
      await waits();
    }
    await bench.close();
    await bench.open();
    await bench.next();
    await waits();
    const told = 'goal "something" waits for your approval of fs.once (aiosctl approvals show an approval)';
    expect(bench.waits).toEqual([told]);
    bench.assignments.waits("system", task, "another approval");
    expect(bench.waits).toHaveLength(2);
  });

  it("leaves its agent's place to others", async () => {
    const waiting: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      await begun("fs.once");
      waiting.push(task);
    }
    const sixth = await bench.submit("something else");
    expect(await bench.nothingMore()).toBe(true);
    task = waiting[0] ?? "";
    await waits();
    await bench.report((await bench.next()).taskId);
    await bench.until(sixth, "completed");
  });

  it("is withdrawn when its goal is cancelled", async () => {
    const { id, execution } = await begun("fs.once");
    await waits();
    await bench.goals.cancel(id, "a test");
    expect(bench.ports.withdrawn).toEqual([execution]);
  });
});
