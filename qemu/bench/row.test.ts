import { describe, expect, it } from "vitest";
import { rowOf, tableOf } from "./row.ts";

describe("bench rows", () => {
  it("carry budget and verdict only where there is a budget", () => {
    expect(rowOf("boot", { name: "native.autonomy", value: 1234.56, unit: "ms" }, "abc", "2 cores")).toEqual({
      bench: "boot",
      name: "native.autonomy",
      value: 1234.6,
      unit: "ms",
      commit: "abc",
      machine: "2 cores",
    });
  });

  it.each([
    ["ms", 3000, 3000, true],
    ["ms", 3000.04, 3000, false],
    ["MB", 151, 150, false],
    ["count", 8, 8, true],
    ["count", 7, 8, false],
    ["ratio", 0.951, 0.95, true],
    ["ratio", 0.949, 0.95, false],
  ] as const)("%s: %d against a budget of %d is %s", (unit, value, budget, ok) => {
    expect(rowOf("boot", { name: "n", value, unit, budget }, "c", "m").ok).toBe(ok);
  });

  it("are a table for a person", () => {
    const rows = [rowOf("boot", { name: "a", value: 1, unit: "ms", budget: 2 }, "c", "m")];
    expect(tableOf(rows)).toMatch(/^a {2} +1 ms +ok, budget 2$/);
  });
});
