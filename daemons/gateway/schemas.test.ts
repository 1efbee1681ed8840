import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { drain, openTwin, provider, request, settings, type Twin, theKey } from "./testing/twins.ts";

const closed = (properties: Record<string, unknown>, more: object = {}) => ({
  ...{ type: "object", properties, required: Object.keys(properties), additionalProperties: false },
  ...more,
});
const text = { type: "string" };

/** What the house asks with: plans and conversations bound their lists. */
const plan = closed({
  why: text,
  steps: {
    type: "array",
    maxItems: 12,
    items: closed({ tool: { type: "string", enum: ["fs.read"] }, input_json: text }),
  },
});

/** Each schema with an answer that it accepts, and one that it does not. */
const schemas: readonly [string, object, unknown, unknown][] = [
  [
    "a list with an end",
    plan,
    { why: "", steps: [] },
    { why: "", steps: Array(13).fill({ tool: "fs.read", input_json: "" }) },
  ],
  [
    "a list with a beginning",
    closed({ a: { type: "array", items: text, minItems: 2 } }),
    { a: ["x", "y"] },
    { a: ["x"] },
  ],
  ["a number with bounds", closed({ a: { type: "number", minimum: 1, exclusiveMaximum: 5 } }), { a: 1 }, { a: 5 }],
  ["a step", closed({ a: { type: "integer", multipleOf: 5 } }), { a: 10 }, { a: 7 }],
  ["a text with bounds", closed({ a: { type: "string", minLength: 1, maxLength: 3 } }), { a: "abc" }, { a: "abcd" }],
  ["a pattern", closed({ a: { type: "string", pattern: "^a+$" } }), { a: "aa" }, { a: "b" }],
  ["a format that is none of theirs", closed({ a: { type: "string", format: "color" } }), { a: "red" }, { a: 1 }],
  ["no word on other members", { type: "object", properties: { a: text }, required: ["a"] }, { a: "x" }, {}],
  ["members that may be missing", { type: "object", properties: { a: text, b: text } }, { b: "x" }, { b: 1 }],
  [
    "open members",
    closed({ a: { type: "object", additionalProperties: { type: "number" } } }),
    { a: { b: 1 } },
    { a: { b: "" } },
  ],
  [
    "a tree",
    {
      ...closed({ tree: { $ref: "#/$defs/t" } }),
      $defs: { t: closed({ sub: { type: "array", items: { $ref: "#/$defs/t" } } }) },
    },
    { tree: { sub: [{ sub: [] }] } },
    { tree: {} },
  ],
  [
    "a definition",
    { ...closed({ a: { $ref: "#/definitions/n" } }), definitions: { n: { type: "integer", minimum: 3 } } },
    { a: 3 },
    { a: 2 },
  ],
  ["one of several", closed({ a: { oneOf: [text, { type: "null" }] } }), { a: null }, { a: 1 }],
  ["several types", closed({ a: { type: ["string", "null"], maxLength: 1 } }), { a: null }, { a: "xy" }],
  [
    "an object or nothing",
    closed({ a: { type: ["object", "null"], properties: { b: text } } }),
    { a: { b: "" } },
    { a: { b: 1 } },
  ],
  ["a constant", closed({ a: { const: "x" } }), { a: "x" }, { a: "y" }],
  ["a list of anything", closed({ a: { type: "array" } }), { a: [1, {}] }, { a: {} }],
  ["a tuple", closed({ a: { type: "array", prefixItems: [text, { type: "number" }] } }), { a: ["x", 1] }, { a: [1] }],
  [
    "all of several",
    { allOf: [closed({ a: text }, { additionalProperties: true }), { properties: { b: text } }] },
    { a: "", b: "" },
    { b: "" },
  ],
  [
    "members beside a choice",
    { type: "object", properties: { a: text }, required: ["a"], anyOf: [{ required: ["b"] }, { required: ["c"] }] },
    { a: "", b: 1 },
    { a: "" },
  ],
  ["a list at the root", { type: "array", items: text }, ["x"], [1]],
  ["a choice at the root", { anyOf: [closed({ a: text }), closed({ b: text })] }, { b: "" }, { c: "" }],
  ["what is not", closed({ a: { type: "string", not: { const: "x" } } }), { a: "y" }, { a: "x" }],
  [
    "a condition",
    closed(
      { a: text, b: text },
      JSON.parse('{"if":{"properties":{"a":{"const":"x"}}},"then":{"properties":{"b":{"const":"y"}}}}'),
    ),
    { a: "x", b: "y" },
    { a: "x", b: "" },
  ],
  [
    "more than may be left open",
    { type: "object", properties: Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`p${at}`, text])) },
    {},
    { p3: 1 },
  ],
];

describe.each(["claude", "openai"] as const)("%s, whose server refuses what it does not take,", (protocol) => {
  let server: ModelServer;
  let twin: Twin;

  beforeEach(async () => {
    server = await { claude: openClaudeServer, openai: openOpenaiServer }[protocol]({ key: theKey });
    twin = await openTwin(settings([provider(protocol, server.url)]));
  });
  afterEach(async () => {
    twin.close();
    await server.close();
  });

  it.each(schemas)("is asked for %s, and its answer is checked by the whole schema", async (_, schema, good, bad) => {
    const asked = request({ jsonSchema: JSON.stringify(schema) });
    server.say({ text: JSON.stringify(good) });
    expect(JSON.parse((await twin.gateway.infer(asked)).text)).toEqual(good);
    server.say({ text: JSON.stringify(bad) }, { text: JSON.stringify(good) });
    expect(JSON.parse((await twin.gateway.infer({ ...asked, prompt: "again" })).text)).toEqual(good);
    expect(server.requests).toHaveLength(3);
  });

  it("an answer that does not fit is asked for once more, and both are paid for", async () => {
    server.say({ text: '{"why":1}' }, { text: "no JSON at all" }, { text: "never asked" });
    const asked = twin.gateway.infer(request({ jsonSchema: JSON.stringify(plan) }));
    await expect(asked).rejects.toMatchObject({ code: "ABORTED", message: expect.stringContaining("it is not JSON") });
    expect(server.requests).toHaveLength(2);
    const { records } = await twin.gateway.getUsage({
      provider: "",
      model: "",
      requestingAgent: "",
      taskId: "",
      days: 0,
    });
    expect(records.map(({ outcome }) => outcome)).toEqual(["answered", "answered"]);
  });

  it("a stream's end is checked too", async () => {
    server.say({ text: '{"why":1}' });
    const answer = drain(twin.gateway.streamInfer(request({ jsonSchema: JSON.stringify(plan) })));
    await expect(answer).rejects.toMatchObject({ code: "ABORTED" });
  });

  it.each([
    ["a fence", (json: string) => `Here it is:\n\`\`\`json\n${json}\n\`\`\`\nAnything else?`],
    ["reasoning before it", (json: string) => `<think>\nmaybe {"why": 1}\n</think>\n\n${json}`],
    ["the end of reasoning before it", (json: string) => `first {a}, then\n</think>${json}`],
    ["words beside it", (json: string) => `Sure: ${json} Done.`],
  ])("reads an answer with %s", async (_, said) => {
    const json = JSON.stringify({ why: "</think>", steps: [] });
    server.say({ text: said(json) });
    expect((await twin.gateway.infer(request({ jsonSchema: JSON.stringify(plan) }))).text).toBe(json);
  });

  it("takes tools whose input is a choice at the root", async () => {
    const schema = { type: "object", properties: { a: text }, anyOf: [{ required: ["a"] }, { required: ["b"] }] };
    const tools = [{ name: "a.b", description: "", inputSchema: Buffer.from(JSON.stringify(schema)) }];
    server.say({ text: "yes" });
    expect(await twin.gateway.infer(request({ tools }))).toMatchObject({ text: "yes" });
  });

  it.each([
    ["no schema", '{"type":"decimal"}'],
    ["larger than is compiled in a moment", JSON.stringify({ description: "x".repeat(131_072) })],
  ])("is not asked with what is %s", async (_, jsonSchema) => {
    const asked = twin.gateway.infer(request({ jsonSchema }));
    await expect(asked).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("json_schema"),
    });
    expect(server.requests).toHaveLength(0);
  });
});

it("OpenAI's wrapper is taken off before a schema goes to another", async () => {
  const server = await openClaudeServer({ key: theKey });
  const twin = await openTwin(settings([provider("claude", server.url)]));
  const schema = closed({ a: text });
  server.say({ text: '{"a":"b"}' });
  const wrapped = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  expect((await twin.gateway.infer(request({ jsonSchema: JSON.stringify(wrapped) }))).text).toBe('{"a":"b"}');
  expect(server.requests[0]?.body.output_config.format.schema).toEqual(schema);
  twin.close();
  await server.close();
});
