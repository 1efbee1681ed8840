import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { grammarOf } from "./grammar.ts";

/** The binding's own grammar engine judges texts against the grammar: what it accepts is what a model can say. */
let matches: (schema: unknown, text: string) => boolean;

beforeAll(() => {
  const path = "../../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/llama-addon.node";
  const binding = createRequire(import.meta.url)(fileURLToPath(new URL(path, import.meta.url)));
  binding.setLoggerLogLevel(0);
  matches = (schema, text) =>
    new binding.AddonGrammar(grammarOf(JSON.stringify(schema)), { rootRuleName: "root" }).isTextCompatible(text);
});

const person = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer", minimum: 0 }, note: { type: "string" } },
  required: ["name", "age"],
};
const tree = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: { id: { type: "number" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
      required: ["id", "children"],
    },
  },
};

describe("grammarOf", () => {
  it.each<[string, unknown, string[], string[]]>([
    ["anything", true, ["1", '{"a":[null,true]}', '"\\u00e9\\n"'], ["", "{", "nul", "01"]],
    [
      "an object",
      person,
      ['{"name":"a","age":3}', '{"name": "a", "age": 3, "note": "x"}'],
      ["{}", '{"age":3,"name":"a"}'],
    ],
    ["a whole number", { type: "integer", minimum: 0 }, ["0", "12"], ["-1", "1.5", "012"]],
    ["numbers", { type: "number" }, ["-0.5", "1e9", "3"], [".5", "+1", "1."]],
    [
      "optional members only",
      { properties: { a: { const: 1 }, b: { const: 2 } } },
      ["{}", '{"b":2}', '{"a":1,"b":2}'],
      ['{"b":2,"a":1}', '{"c":1}'],
    ],
    [
      "a map",
      { type: "object", additionalProperties: { type: "boolean" } },
      ["{}", '{"x":true,"y":false}'],
      ['{"x":1}'],
    ],
    ["nothing but {}", { type: "object", additionalProperties: false }, ["{}"], ['{"a":1}']],
    [
      "an array with bounds",
      { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 3 },
      ["[true,false]", "[true, true, true]"],
      ["[]", "[true]", "[true,true,true,true]"],
    ],
    ["one item at most", { type: "array", maxItems: 1 }, ["[]", "[1]"], ["[1,2]"]],
    ["a tuple", { prefixItems: [{ const: "a" }, { type: "null" }] }, ['["a",null]'], ['["a"]']],
    ["a string with bounds", { type: "string", minLength: 2, maxLength: 3 }, ['"ab"', '"a\\"c"'], ['"a"', '"abcd"']],
    [
      "an enum with quotes and newlines",
      { enum: ['a"b', "c\nd", "e\\f", 7, null] },
      ['"a\\"b"', '"c\\nd"', '"e\\\\f"', "7", "null"],
      ['"c"'],
    ],
    ["alternatives", { anyOf: [{ const: 1 }, { type: "null" }] }, ["1", "null"], ["2"]],
    ["types", { type: ["string", "null"] }, ['"x"', "null"], ["1"]],
    [
      "allOf",
      {
        allOf: [
          { properties: { a: { const: 1 } }, required: ["a"] },
          { properties: { b: { const: 2 } }, required: ["b"] },
        ],
      },
      ['{"a":1,"b":2}'],
      ['{"a":1}'],
    ],
    ["a recursive schema", tree, ['{"id":1,"children":[{"id":2,"children":[]}]}'], ['{"id":1}']],
    ["long strings", { type: "string", maxLength: 100_000 }, [`"${"x".repeat(1000)}"`], ["1"]],
  ])("fits %s", (_, schema, good, bad) => {
    for (const text of good) expect(matches(schema, text), text).toBe(true);
    for (const text of bad) expect(matches(schema, text), text).toBe(false);
  });

  it.each<[string, string, string]>([
    ["text that is not JSON", "{", "json_schema"],
    ["a schema that accepts nothing", "false", "not a schema"],
    ["an unknown type", '{"type":"decimal"}', "is not a type"],
    ["a reference to another document", '{"$ref":"other.json"}', "within the schema"],
    ["a reference to nothing", '{"$ref":"#/$defs/x"}', "leads nowhere"],
    ["an empty choice", '{"enum":[]}', "choice among nothing"],
    ["an enormous schema", JSON.stringify({ enum: ["x".repeat(70_000)] }), "at most 65536"],
    ["deep nesting", `${'{"items":'.repeat(70)}{}${"}".repeat(70)}`, "deeper than 64"],
    ["more counts than llama.cpp should unroll", manyCounts(), "add up to more than 20000"],
  ])("refuses %s", (_, schema, reason) => {
    expect(() => grammarOf(schema)).toThrow(reason);
  });
});

it("grows no faster than its schema", () => {
  const names = Array.from({ length: 300 }, (_, at) => `q${at}`);
  const schema = { properties: Object.fromEntries(names.map((name) => [name, true])) };
  const text = JSON.stringify(schema);
  expect(grammarOf(text).length).toBeLessThan(text.length * 10);
  expect(matches(schema, '{"q7":1,"q299":[]}')).toBe(true);
  expect(matches(schema, '{"q299":1,"q7":[]}')).toBe(false);
});

/** Optional members in optional members: written out, each level would square the one below it. */
it("does not explode with nested optional members", () => {
  let schema: unknown = true;
  for (let depth = 0; depth < 20; depth++) {
    const names = Array.from({ length: 5 }, (_, at) => `p${at}`);
    schema = { properties: Object.fromEntries(names.map((name, at) => [name, at === 0 ? schema : true])) };
  }
  expect(grammarOf(JSON.stringify(schema)).length).toBeLessThan(50_000);
});

function manyCounts(): string {
  return JSON.stringify({ prefixItems: Array.from({ length: 100 }, () => ({ type: "string", maxLength: 256 })) });
}
