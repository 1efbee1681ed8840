import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Bench, openBench, planOf, step } from "../testing/goals-bench.ts";
import { askedMostMs, machineGoalsMax, unfinishedGoalsMax } from "./capacity.ts";

const clock = new ManualClock();

let bench: Bench;
beforeEach(async () => {
  bench = await openBench(clock);
});
afterEach(() => bench.close());

const counted = (count: number, give: (n: number) => Promise<string>) =>
  Promise.all(Array.from({ length: count }, (_, n) => give(n)));
const asks = () => ({ question: "which?" });

describe("room for goals", () => {
  it("is there for a person when schedules have given a thousand that wait", async () => {
    bench.draft = asks;
    const given: string[] = [];
    for (let n = 0; n < unfinishedGoalsMax; n += 1) {
      given.push(await bench.submit("clean up", { source: `schedule:${n}` }));
      await bench.until(given.at(-1) ?? "", "awaiting_input");
    }
    expect(bench.goals.counts().activeGoals).toBe(machineGoalsMax);
    const closed = await bench.goals.find(given[0] ?? "");
    expect(closed).toMatchObject({ state: "cancelled", result: expect.stringContaining("no room for other goals") });
    bench.draft = () => planOf(step("one"));
    const id = await bench.submit("a person's");
    await bench.report((await bench.next()).taskId);
    await bench.until(id, "completed");
  });

  it("is kept for people when those of the machine are at work, which are not closed", async () => {
    const give = (n: number) => bench.submit("work", { source: n % 2 === 0 ? "agent:system" : `trigger:${n}` });
    await counted(machineGoalsMax, give);
    for (const source of ["agent:system", "schedule:s", "trigger:t"]) {
      await expect(bench.submit("more", { source })).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    }
    const people = await counted(unfinishedGoalsMax - machineGoalsMax, () => bench.submit("a person's"));
    await expect(bench.submit("one more")).rejects.toThrow(/1000 goals are unfinished/);
    await bench.goals.cancel(people[0] ?? "", "a test");
    await bench.submit("one more");
  });

  it("is made at the cost of whoever has the most that wait", async () => {
    bench.draft = asks;
    const first = await bench.submit("nightly", { source: "schedule:s" });
    const agents = await counted(machineGoalsMax - 1, () => bench.submit("a wish", { source: "agent:system" }));
    await clock.advance(1);
    await counted(10, (n) => bench.submit("a trouble", { source: `trigger:${n}` }));
    expect((await bench.goals.find(first)).state).toBe("awaiting_input");
    const ends = await Promise.all(agents.map((id) => bench.goals.find(id)));
    expect(ends.filter(({ state }) => state === "cancelled")).toHaveLength(10);
  });

  it("is not taken up for ever by what nobody answers, unless a person gave it", async () => {
    bench.draft = asks;
    const [old, person] = [await bench.submit("x", { source: "schedule:s" }), await bench.submit("y")];
    await bench.until(old, "awaiting_input");
    const stop = new AbortController();
    const sweep = bench.goals.sweep(stop.signal);
    await clock.advance(askedMostMs / 2);
    const young = await bench.submit("z", { source: "schedule:t" });
    await clock.advance(askedMostMs / 2 + 3_600_000);
    stop.abort();
    await sweep;
    const ends = await Promise.all([old, person, young].map((id) => bench.goals.find(id)));
    expect(ends.map(({ state }) => state)).toEqual(["cancelled", "awaiting_input", "awaiting_input"]);
    expect(ends[0]?.result).toContain("nobody answered it since 2023-11-14");
  });
});

describe("a dedupe key", () => {
  it("is each giver's own, and shared by people", async () => {
    const one = await bench.submit("x", { source: "operator:a", dedupeKey: "service-down:nginx" });
    expect(await bench.submit("x", { source: "operator:b", dedupeKey: "service-down:nginx" })).toBe(one);
    const sources = ["agent:system", "agent:web", "trigger:service-down", "schedule:s"];
    const others = await Promise.all(
      sources.map((source) => bench.submit("x", { source, dedupeKey: "service-down:nginx" })),
    );
    expect(new Set([one, ...others]).size).toBe(5);
    expect(await bench.submit("y", { source: "trigger:service-down", dedupeKey: "service-down:nginx" })).toBe(
      others[2],
    );
  });
});
