import { expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";

it("back-off is longer each time, with jitter", () => {
  expect([1, 2, 3, 99].map((attempt) => backoffMs(attempt, 100, 1_000, () => 0.5))).toEqual([100, 200, 400, 1_000]);
  expect(backoffMs(1, 100, 1_000, () => 0)).toBe(75);
  expect(backoffMs(1, 100, 1_000, () => 0.999)).toBe(125);
});
