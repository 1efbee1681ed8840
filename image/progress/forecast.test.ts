import { expect, test } from "vitest";
import { forecast, pathsAhead, type TimedStep } from "./forecast.ts";

const step = (name: string, needs: string[] = [], rememberedMs?: number, stale = true): TimedStep => ({
  ...{ name, needs, stale, rememberedMs },
});

test("a machine that has built nothing goes by the table: the kernel's time by its cores", () => {
  const plan = [step("buildroot"), step("kernel-source", ["buildroot"]), step("kernel-qemu", ["kernel-source"])];
  const [two, sixteen] = [forecast(plan, 2), forecast(plan, 16)];
  expect(two).toMatchObject({ stale: 3, steps: 3, cores: 2, by: "the table" });
  expect(sixteen.ms).toBeLessThan(two.ms / 4);
});

test("it takes no less than the longest path, and no less than all the work by its cores", () => {
  const fan = ["a", "b", "c", "d"].map((name) => step(name, [], 60_000));
  expect(forecast(fan, 2).ms).toBe(120_000);
  expect(forecast(fan, 8).ms).toBe(60_000);
  expect(forecast([step("a", [], 60_000), step("b", ["a"], 60_000), step("c", [], 1_000)], 8).ms).toBe(120_000);
});

test("what is in the cache takes no time; what was built here goes by that, and it is said by what", () => {
  const plan = [step("a", [], 60_000, false), step("packages", ["a"], 5_000), step("buildroot")];
  expect(forecast(plan, 4)).toMatchObject({ stale: 2, steps: 3, by: "both" });
  expect(forecast(plan.slice(0, 2), 4)).toMatchObject({ stale: 1, ms: 5_000, by: "this machine" });
  expect(forecast([], 4)).toMatchObject({ stale: 0, ms: 0 });
});

test("of steps that could begin the one with the most behind it is known", () => {
  const plan = [step("a", [], 1_000), step("b", [], 9_000), step("c", ["a"], 20_000), step("d", ["b", "c"], 1_000)];
  expect([...pathsAhead(plan, 2)].sort()).toEqual([
    ...[["a", 22_000] as const, ["b", 10_000] as const, ["c", 21_000] as const, ["d", 1_000] as const],
  ]);
});
