import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, openBench, planOf, step } from "./goals-bench.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a goal", () => {
  it.each([
    ["operator:o", "anything", "nothing"],
    ["schedule:s", "anything", "nothing"],
    ["agent:system", "may", "nothing"],
    ["agent:system", "anything", "everything"],
    ["agent:unknown", "may", "everything"],
  ])("of %s that says %s asks a person about %s", async (source, what, asks) => {
    bench.draft = () => planOf(step("one", { input: { what } }));
    const id = await bench.submit("something", { source });
    const { taskId, description } = await bench.next();
    expect(bench.ports.asks).toEqual([asks]);
    expect(description.includes(source)).toBe(source.startsWith("agent:"));
    await bench.report(taskId);
    await bench.until(id, "completed");
  });
});
