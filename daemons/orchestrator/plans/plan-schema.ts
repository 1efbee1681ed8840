import type { JsonObject } from "../json.ts";
import { stepsMax } from "../plan.ts";
import type { FieldSchema, InputSchema, ToolFacts } from "../tools.ts";

const text = { type: "string" } as const;
const names = { type: "array", items: text } as const;

/** An object all of whose fields are required, and that has no others. */
export function requiredObject(properties: Record<string, unknown>): Record<string, unknown> {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}

/**
 * The schema of a model's answer: why, a question, the steps (none with a question, or when it cannot be done), the
 * result's text.
 */
function answerOf(step: Record<string, unknown>): JsonObject {
  const steps = { type: "array", items: step, maxItems: stepsMax };
  return requiredObject({ why: text, question: text, steps, result: text }) as JsonObject;
}

/** The schema of plans for a model under a grammar: each tool with its own input, so that only calls that exist can be said. */
export function grammarSchema(tools: readonly ToolFacts[]): JsonObject {
  return answerOf({ anyOf: tools.map(stepSchema) });
}

function stepSchema({ name, input }: ToolFacts): Record<string, unknown> {
  // Any field may be what an earlier step gave, which is a text.
  const inputSchema = grammarInput(input, (type) => ({ anyOf: [{ type }, text] }));
  return requiredObject({ tool: { const: name }, name: text, description: text, needs: names, input: inputSchema });
}

/** The schema of a number in a grammar. */
type NumberSchema = (type: "integer" | "number") => Record<string, unknown>;

/** The part of a tool's input schema that a grammar can hold. */
export function grammarInput(
  { properties = {}, required = [] }: InputSchema,
  numberOf: NumberSchema = (type) => ({ type }),
): Record<string, unknown> {
  const fields = Object.entries(properties).map(([field, schema]) => [field, fieldSchema(schema, numberOf)]);
  return { type: "object", properties: Object.fromEntries(fields), required, additionalProperties: false };
}

function fieldSchema(schema: FieldSchema, numberOf: NumberSchema): Record<string, unknown> {
  const { type, enum: choices, anyOf, items, properties } = schema;
  if (choices !== undefined) return { enum: choices };
  if (Array.isArray(anyOf)) return { anyOf: anyOf.map((one) => fieldSchema(one as FieldSchema, numberOf)) };
  if (type === "integer" || type === "number") return numberOf(type);
  if (type === "array") return { type, items: fieldSchema((items ?? text) as FieldSchema, numberOf) };
  if (type === "object" && properties !== undefined) return grammarInput(schema as InputSchema, numberOf);
  return type === undefined ? text : { type };
}

/**
 * The schema of plans for a provider: the tools are an enumeration, and an input is JSON in a text. Providers hold a model
 * only to schemas all of whose objects are closed, and bound the size of a schema: a hundred tools' inputs do not fit.
 */
export function providerSchema(tools: readonly ToolFacts[], agents: readonly string[]): JsonObject {
  const tool = { type: "string", enum: tools.map(({ name }) => name) };
  const agent = { type: "string", enum: ["", ...agents] };
  const more = { input_json: text, expect_json: text };
  return answerOf(requiredObject({ name: text, description: text, tool, agent, needs: names, ...more }));
}
