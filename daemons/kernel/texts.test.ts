import { expect, it } from "vitest";
import { shortenResult } from "./calls.ts";
import { wrong } from "./wire.ts";

it.each([
  ["a result in the journal", (text: string) => JSON.stringify(shortenResult({ text }, 200))],
  ["a shape that is another", (text: string) => wrong("a.b", "a number", text).message],
])("no character is cut in half by %s", (_, shorten) => {
  for (const before of ["", "a"]) {
    const shown = shorten(`${before}${"😀".repeat(500)}`);
    expect(shown.length).toBeLessThan(400);
    expect(shown).toMatch(/😀/);
    expect(shown).not.toMatch(/\\ud[89a-f]|\uFFFD/);
    expect(shown.isWellFormed()).toBe(true);
  }
});
