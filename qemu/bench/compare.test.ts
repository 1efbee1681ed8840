import { describe, expect, it } from "vitest";
import { ratiosOf, readAsked } from "./compare.ts";
import { rowOf } from "./row.ts";

const row = (name: string, value: number) => rowOf("tools", { name, value, unit: "ms" }, "c", "m");
const round = (reference: Record<string, number>, own: Record<string, number>) => ({
  reference: Object.entries(reference).map(([name, value]) => row(name, value)),
  own: Object.entries(own).map(([name, value]) => row(name, value)),
});

describe("compare", () => {
  it("reads a commit, a benchmark, its words and the rounds", () => {
    expect(readAsked(["HEAD", "tools"])).toEqual({ reference: "HEAD", bench: "tools", words: [], rounds: 3 });
    expect(readAsked(["HEAD", "idle", "--rounds", "1", "--minutes", "2"])).toEqual({
      reference: "HEAD",
      bench: "idle",
      words: ["--minutes", "2"],
      rounds: 1,
    });
  });

  it.each([
    [[], "a commit and a benchmark"],
    [["HEAD"], "a commit and a benchmark"],
    [["HEAD", "compare"], "no benchmark"],
    [["HEAD", "../x"], "no benchmark"],
    [["HEAD", "tools", "--rounds", "0"], "whole number"],
    [["HEAD", "tools", "--rounds"], "whole number"],
  ])("refuses %j", (words, reason) => {
    expect(() => readAsked(words)).toThrow(reason);
    expect(() => readAsked(words)).toThrow("npm run bench -- compare REF NAME");
  });

  it("gives the median of the rounds' ratios, not the ratio of two rounds that met different loads", () => {
    const pairs = [round({ a: 10 }, { a: 5 }), round({ a: 100 }, { a: 60 }), round({ a: 20 }, { a: 8 })];
    expect(ratiosOf(pairs)).toEqual([
      { name: "a", unit: "ms", reference: 20, own: 8, ratio: 0.5, lowest: 0.4, highest: 0.6 },
    ]);
  });

  it("leaves out what only one build measures, and what was nothing", () => {
    expect(ratiosOf([round({ a: 1, gone: 1, zero: 0 }, { a: 1, added: 1, zero: 1 })]).map(({ name }) => name)).toEqual([
      "a",
    ]);
  });
});
