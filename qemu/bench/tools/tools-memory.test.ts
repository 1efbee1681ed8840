import { expect, it } from "vitest";
import { callsWanted, trend } from "./tools-memory.ts";

it.each([
  [[], undefined],
  [["--calls", "1000000"], 1_000_000],
])("of %j wants %d calls", (words, calls) => {
  expect(callsWanted(words)).toBe(calls);
});

it.each([["--calls"], ["--calls", "many"], ["--calls", "10"]])("refuses %s %s", (...words) => {
  expect(() => callsWanted(words)).toThrow("--calls wants a number");
});

it.each([
  [[100, 100, 100], 0],
  [[100, 110, 120, 130], 30],
  // One odd value is no trend.
  [[100, 100, 130, 100, 100], 0],
])("the trend of %j is %d", (values, rise) => {
  expect(trend(values)).toBeCloseTo(rise);
});
