import { describe, expect, it } from "vitest";
import { answerCheck } from "#lib/answer-check";
import { grammarOf } from "./between/grammar.ts";

describe("a pattern that takes for ever", () => {
  const forEver = "^(([a-z])+.)+[A-Z]$";
  const long = "a".repeat(64);

  it("is told by the check, however the schema spells its keyword", async () => {
    const check = await answerCheck(`{"type":"string","\\u0070attern":${JSON.stringify(forEver)}}`);
    expect(check(JSON.stringify(long))).toMatch(/cannot be checked by the schema: .*timed out/);
  });

  it("is refused where it would be tried on names", () => {
    const schema = { type: "object", patternProperties: { [forEver]: { const: 1 } }, required: [long] };
    expect(() => grammarOf(JSON.stringify(schema))).toThrow(/timed out/);
  });
});

describe("references that double each other", () => {
  const doubled = (times: number, own = (_: number): object[] => []) => {
    const defs: Record<string, unknown> = { d0: { type: "object", properties: { a: { type: "string" } } } };
    for (let at = 1; at <= times; at++) {
      const before = { $ref: `#/$defs/d${at - 1}` };
      defs[`d${at}`] = { allOf: [before, before, ...own(at)] };
    }
    return { $defs: defs, $ref: `#/$defs/d${times}` };
  };

  it("are each taken apart once", () => {
    expect(grammarOf(JSON.stringify(doubled(30)))).toEqual(grammarOf(JSON.stringify(doubled(1))));
  });

  it("are refused where what they say grows without end", () => {
    const own = (at: number) => [{ properties: { a: { allOf: [{ minLength: at }, { maxLength: 99 - at }] } } }];
    const parts = (at: number) => [...own(at), { anyOf: own(at + 30).concat(own(at + 60)) }];
    const before = performance.now();
    expect(() => grammarOf(JSON.stringify(doubled(30, parts)))).toThrow(/timed out|more than 64 ways/);
    expect(performance.now() - before).toBeLessThan(10_000);
  });

  it("end the check of an answer", async () => {
    const check = await answerCheck(JSON.stringify(doubled(30)));
    expect(check('{"a":""}')).toMatch(/cannot be checked by the schema: .*timed out/);
  });
});
