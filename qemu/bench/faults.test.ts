import { describe, expect, it } from "vitest";
import { drawing } from "../faults/drawing.ts";
import { callPaths, fieldsOf, noise, unreadable } from "../faults/malformed.ts";
import { campaigns, readFaults } from "./faults.ts";

describe("faults", () => {
  it("are all made when nobody says which, from a seed of their own", () => {
    expect(readFaults([], () => 7)).toEqual({ names: Object.keys(campaigns), seed: 7, count: undefined });
    expect(readFaults(["kill", "--seed", "3", "--count", "20"], () => 7)).toEqual({
      names: ["kill"],
      seed: 3,
      count: 20,
    });
  });

  it.each([
    [["nonsense"], 'no campaign "nonsense"'],
    [["--seed", "x"], "--seed takes"],
    [["kill", "--count", "0"], "--count takes"],
    [["--count"], "--count takes"],
  ])("refuses %j", (words, reason) => {
    expect(() => readFaults(words, () => 7)).toThrow(reason);
  });

  it("are the same for the same seed", () => {
    const draw = (seed: number) => {
      const random = drawing(seed);
      return Array.from({ length: 50 }, () => Buffer.concat([fieldsOf(random), unreadable(random), noise(random)]));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it("of the wire go to every call of the machine", () => {
    expect(callPaths).toContain("/aios.tools.ToolRegistry/Execute");
    expect(callPaths.length).toBeGreaterThan(100);
  });
});
