import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { answerCheck } from "#lib/answer-check";
import { grammarOf } from "./between/grammar.ts";

/** The binding's own grammar engine judges: what it accepts is what a model can say. */
let matches: (schema: unknown, text: string) => boolean;

beforeAll(() => {
  const path = "../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/llama-addon.node";
  const binding = createRequire(import.meta.url)(fileURLToPath(new URL(path, import.meta.url)));
  binding.setLoggerLogLevel(0);
  matches = (schema, text) =>
    new binding.AddonGrammar(grammarOf(JSON.stringify(schema)), { rootRuleName: "root" }).isTextCompatible(text);
});

const a = { properties: { a: { type: "string" } }, required: ["a"] };
const b = { properties: { b: { type: "integer" } }, required: ["b"] };
const condition = JSON.parse(
  '{"properties":{"kind":{"enum":["x","y"]},"n":{"type":"integer","minimum":1,"maximum":3}},"required":["kind","n"],"if":{"properties":{"kind":{"const":"x"}}},"then":{"properties":{"n":{"const":2}}},"else":{"required":["more"]}}',
);

/** Each schema with what can be said under it and is accepted, and what cannot be said. */
const schemas: readonly [string, unknown, unknown[], unknown[]][] = [
  [
    "members beside anyOf",
    { ...a, anyOf: [b, { required: ["c"] }] },
    [
      { a: "", b: 1 },
      { a: "", c: null },
    ],
    [{ b: 1 }, { a: "" }],
  ],
  [
    "members beside oneOf",
    { ...a, oneOf: [b, { properties: { c: { const: 1 } }, required: ["c"] }] },
    [{ a: "", b: 1 }],
    [{ b: 1 }],
  ],
  ["a type beside anyOf", { type: "string", anyOf: [{ enum: ["x", 1] }, { const: "y" }] }, ["x", "y"], [1]],
  [
    "choices in choices",
    { anyOf: [{ ...a, anyOf: [b, { required: ["c"] }] }, { type: "null" }] },
    [null, { a: "", b: 2 }],
    [{ a: "" }],
  ],
  [
    "allOf whose parts have properties in common",
    {
      allOf: [
        { properties: { n: { type: "number" } } },
        { properties: { n: { type: ["integer", "null"] } }, required: ["n"] },
      ],
    },
    [{ n: 3 }],
    [{ n: null }, { n: "3" }],
  ],
  [
    "allOf of bounds",
    { type: "array", items: { const: 1 }, allOf: [{ minItems: 2 }, { maxItems: 3 }, { minItems: 1 }] },
    [
      [1, 1],
      [1, 1, 1],
    ],
    [[1], [1, 1, 1, 1]],
  ],
  [
    "allOf of lists of values",
    { allOf: [{ enum: [1, 2, 3] }, { enum: [2, 3, 4] }, { not: { const: 3 } }] },
    [2],
    [3, 1],
  ],
  [
    "allOf with references",
    { $defs: { a, b }, allOf: [{ $ref: "#/$defs/a" }, { $ref: "#/$defs/b" }] },
    [{ a: "", b: 0 }],
    [{ a: "" }],
  ],
  [
    "members beside a reference",
    { $defs: { a }, $ref: "#/$defs/a", properties: { c: { const: 1 } }, required: ["c"] },
    [{ c: 1, a: "" }],
    [{ a: "" }],
  ],
  [
    "a closed part",
    { allOf: [{ ...a, additionalProperties: false }, { properties: { b: { type: "integer" } } }] },
    [{ a: "x" }],
    [{ a: "", b: 1 }],
  ],
  [
    "a draft-07 tuple",
    {
      $schema: "http://json-schema.org/draft-07/schema#",
      type: "array",
      items: [{ const: 1 }, { type: "string" }],
      additionalItems: false,
    },
    [[1, "x"]],
    [[1], ["x", 1], [1, "x", 2]],
  ],
  [
    "a tuple with more",
    { prefixItems: [{ const: 1 }], items: { type: "boolean" }, minItems: 3 },
    [[1, true, false]],
    [[1], [1, true]],
  ],
  ["a short tuple", { prefixItems: [{ const: 1 }, { const: 2 }], maxItems: 1 }, [[1]], [[1, 2]]],
  [
    "$anchor",
    { $defs: { n: { $anchor: "num", type: "integer" } }, type: "array", items: { $ref: "#num" } },
    [[1]],
    [["x"]],
  ],
  [
    "a draft-07 anchor",
    { definitions: { n: { $id: "#num", type: "integer" } }, properties: { a: { $ref: "#num" } }, required: ["a"] },
    [{ a: 1 }],
    [{ a: "" }],
  ],
  [
    "an identifier",
    {
      $id: "https://example.com/s",
      properties: { a: { $ref: "https://example.com/s#/$defs/n" } },
      $defs: { n: { const: 1 } },
      required: ["a"],
    },
    [{ a: 1 }],
    [{ a: 2 }],
  ],
  [
    "a reference to the root",
    { type: "object", properties: { next: { $ref: "#" }, v: { const: 1 } }, required: ["v"] },
    [{ v: 1, next: { v: 1 } }],
    [{ next: {} }],
  ],
  ["a reference with escapes", { $defs: { "a/b%": { const: 1 } }, $ref: "#/$defs/a~1b%25" }, [1], [2]],
  [
    "a reference into a draft-07 tuple",
    { properties: { t: { items: [{ const: 1 }] }, u: { $ref: "#/properties/t/items/0" } }, required: ["u"] },
    [{ u: 1 }],
    [{ u: 2 }],
  ],
  [
    "a tree by allOf",
    {
      $defs: {
        node: {
          allOf: [
            { properties: { id: { type: "integer" } }, required: ["id"] },
            { properties: { kids: { type: "array", items: { $ref: "#/$defs/node" } } } },
          ],
        },
      },
      $ref: "#/$defs/node",
    },
    [{ id: 1, kids: [{ id: 2 }] }],
    [{ kids: [] }],
  ],
  [
    "OpenAI's wrapper",
    { name: "answer", strict: true, schema: { type: "object", ...a, additionalProperties: false } },
    [{ a: "" }],
    [{ name: "x" }, {}],
  ],
  [
    "OpenAI's whole response_format",
    { type: "json_schema", json_schema: { name: "n", schema: { ...a } } },
    [{ a: "" }],
    [{}],
  ],
  [
    "an object with properties that are called like the wrapper",
    { properties: { name: { const: 1 }, schema: { const: 2 } }, required: ["name"] },
    [{ name: 1, schema: 2 }],
    [{ a: "" }],
  ],
  [
    "a condition",
    condition,
    [
      { kind: "x", n: 2 },
      { kind: "y", n: 3, more: [] },
    ],
    [
      { kind: "x", n: 3 },
      { kind: "y", n: 1 },
    ],
  ],
  [
    "what comes along",
    { properties: { a: {}, b: {} }, dependentRequired: { a: ["b"] } },
    [{}, { b: 1 }, { a: 1, b: 1 }],
    [{ a: 1 }],
  ],
  [
    "draft-07 dependencies",
    { properties: { a: {}, b: {} }, dependencies: { a: { required: ["b"] } } },
    [{ a: 1, b: 1 }],
    [{ a: 1 }],
  ],
  [
    "a pattern for names",
    { patternProperties: { "^x-": { type: "integer" } }, required: ["x-a"], additionalProperties: false },
    [{ "x-a": 1 }],
    [{ "x-a": "" }],
  ],
  [
    "a map by a pattern",
    {
      type: "object",
      patternProperties: { "^[a-z]+$": { type: "integer" } },
      additionalProperties: false,
      minProperties: 1,
    },
    [{ ab: 1 }],
    [{}, { ab: "" }],
  ],
  [
    "a map of named keys",
    { type: "object", propertyNames: { enum: ["x", "y"] }, additionalProperties: { type: "integer" } },
    [{}, { x: 1 }, { x: 1, y: 2 }],
    [{ z: 1 }],
  ],
  [
    "so many properties",
    { properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 } }, minProperties: 2, maxProperties: 2 },
    [{ a: 1, b: 2 }],
    [{}, { a: 1 }, { a: 1, b: 2, c: 3 }],
  ],
  [
    "a map of some",
    { type: "object", additionalProperties: { const: 1 }, minProperties: 2 },
    [{ x: 1, y: 1 }],
    [{}, { x: 1 }],
  ],
  ["a property that must not be", { properties: { a: { const: 1 }, b: false } }, [{ a: 1 }, {}], [{ a: 1, b: 2 }]],
  ["few whole numbers", { type: "integer", minimum: -2, exclusiveMaximum: 5, multipleOf: 2 }, [-2, 0, 4], [-3, 3, 6]],
  ["values of another type", { type: "integer", enum: [1, "x", 2.5] }, [1], ["x", 2.5]],
  ["types that are not", { type: ["string", "null", "integer"], not: { type: "null" } }, ["", 1], [null]],
  ["nullable", { type: "string", nullable: true, maxLength: 2 }, [null, "ab"], [1]],
  ["draft-04 bounds", { type: "integer", minimum: 1, exclusiveMinimum: true, maximum: 3 }, [2, 3], [1, 4]],
  ["a list of what it must contain", { type: "array", contains: { const: 7 }, minItems: 1 }, [[7]], [[1]]],
];

describe("a schema with", () => {
  it.each(schemas)("%s", async (_, schema, good, bad) => {
    const check = await answerCheck(JSON.stringify(schema));
    for (const value of good) {
      const text = JSON.stringify(value);
      expect(matches(schema, text), `the grammar says ${text}`).toBe(true);
      expect(check(text), text).toBeUndefined();
    }
    for (const value of bad) expect(matches(schema, JSON.stringify(value)), JSON.stringify(value)).toBe(false);
  });
});

describe("a schema that nothing fits is refused, and its part named:", () => {
  it.each<[string, unknown, RegExp]>([
    [
      "allOf of two types",
      { properties: { "a/b": { allOf: [{ type: "string" }, { type: "number" }] } }, required: ["a/b"] },
      /#\/properties\/a~1b:/,
    ],
    [
      "a required property that must not be",
      { properties: { a: false }, required: ["a"] },
      /#\/properties\/a:.*accepts anything/,
    ],
    [
      "a closed object with more required",
      { ...a, required: ["a", "z"], additionalProperties: false },
      /#\/properties\/z:/,
    ],
    [
      "bounds that cross",
      { type: "array", items: { type: "string", minLength: 3, maxLength: 2 }, minItems: 1 },
      /#\/items: minLength is more than maxLength/,
    ],
    ["values of no such type", { type: "string", enum: [1, 2] }, /#: a choice among nothing/],
    [
      "no whole number",
      { properties: { n: { type: "integer", minimum: 3, maximum: 2 } }, required: ["n"] },
      /#\/properties\/n: no whole number/,
    ],
    ["an unknown type", { items: { type: "decimal" } }, /#\/items: "decimal" is not a type/],
    [
      "a reference to nothing",
      { properties: { a: { $ref: "#nowhere" } } },
      /#\/properties\/a: \$ref #nowhere leads nowhere/,
    ],
    [
      "choices without end",
      {
        allOf: Array.from({ length: 10 }, (_, at) => ({ anyOf: [{ required: [`a${at}`] }, { required: [`b${at}`] }] })),
      },
      /#: its choices combine in more than 64 ways/,
    ],
  ])("%s", (_, schema, message) => {
    expect(() => grammarOf(JSON.stringify(schema))).toThrow(message);
  });

  it("in the check of answers too", async () => {
    const wrong = answerCheck('{"properties":{"a":{"minLength":"x"}}}');
    await expect(wrong).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("#/properties/a/minLength"),
    });
  });
});

describe("numbers", () => {
  it.each<[string, string[], string[]]>([
    [
      '{"type":"number","multipleOf":0.01}',
      ["19.99", "0.07", "1234567.89", "1e2", "-0.01", "4.35", "0"],
      ["19.995", "0.001"],
    ],
    ['{"multipleOf":0.1}', ["0.3", "1.1", "1e22"], ["0.35"]],
    ['{"multipleOf":1e-7}', ["1e-7", "0.0000003"], ["1e-8"]],
    ['{"type":"integer","multipleOf":3}', ["9007199254740990", "-3"], ["4", "1.5"]],
    ['{"type":"number"}', ["1e308", "1.7976931348623157e308"], ["1e999", "-1e999", "1e309"]],
    ["{}", ["[1]"], ["1e999", "[1e999]", '{"a":{"b":-1e400}}']],
    ['{"enum":[1,2]}', ["1", "1.0", "2e0"], ["1e999"]],
  ])("are as they are written, under %s", async (schema, good, bad) => {
    const check = await answerCheck(schema);
    for (const text of good) expect(check(text), text).toBeUndefined();
    for (const text of bad) expect(check(text), text).toBeDefined();
  });

  it.each<[string, object, string[], string[]]>([
    [
      "a share",
      { minimum: 0, maximum: 1 },
      ["0", "1", "0.5", "0.25", "1.0", "0.999"],
      ["1.1", "2", "-0.5", "-1", "00.5"],
    ],
    ["open at both ends", { exclusiveMinimum: 0, exclusiveMaximum: 1 }, ["0.5", "0.001"], ["0", "1", "0.0", "1.0"]],
    [
      "around 0",
      { minimum: -2.5, maximum: 12.25 },
      ["-2.5", "-2", "0", "12.25", "12", "9.9"],
      ["-2.6", "-3", "12.26", "13"],
    ],
    ["below 0", { maximum: -5 }, ["-5", "-17.5", "-100"], ["5", "-4.9", "0"]],
    ["at least", { minimum: 18 }, ["18", "18.5", "1000000"], ["17.9", "9", "-20"]],
    ["between two tenths", { minimum: 0.2, maximum: 0.3 }, ["0.2", "0.25", "0.3"], ["0", "1", "0.1", "0.31"]],
    [
      "many whole ones",
      { type: "integer", minimum: 1, maximum: 65_535 },
      ["1", "80", "65535", "9999"],
      ["0", "65536", "70000", "-1", "1.5"],
    ],
    ["whole ones without an end", { type: "integer", minimum: 1_000 }, ["1000", "123456"], ["999", "1"]],
  ])("between bounds are said between them: %s", async (_, bounds, good, bad) => {
    const schema = { type: "number", ...bounds };
    const check = await answerCheck(JSON.stringify(schema));
    for (const text of good) expect([text, matches(schema, text), check(text)]).toEqual([text, true, undefined]);
    for (const text of bad) expect([text, matches(schema, text)]).toEqual([text, false]);
  });

  it("that a model can say are some that can be kept", () => {
    expect(matches({ type: "number" }, "1e99")).toBe(true);
    expect(matches({}, "1e999")).toBe(false);
  });
});
