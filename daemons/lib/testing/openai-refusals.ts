/**
 * For tests: why OpenAI's API answers a schema with 400. Its rules as its guide gives them
 * (platform.openai.com/docs/guides/structured-outputs, "supported schemas", excerpts seen 2026-11-30), its words as people quote them:
 * openai/openai-java#139, google/adk-java#1476 (2026-09).
 */
type Schema = Record<string, unknown>;

const takes = [
  ...[
    "type",
    "title",
    "description",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "properties",
    "required",
    "additionalProperties",
  ],
  ...["items", "minItems", "maxItems", "pattern", "format", "multipleOf", "minimum", "maximum"],
  ...["exclusiveMinimum", "exclusiveMaximum"],
];
const formats = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
const depthMax = 10;

/** The refusal of a `response_format`. */
export function refusedFormat(format: {
  json_schema: { name?: unknown; schema?: Schema; strict?: unknown };
}): string | undefined {
  const { name, schema, strict } = format.json_schema ?? {};
  if (typeof name !== "string") return "Missing required parameter: 'response_format.json_schema.name'.";
  const invalid = (reason: string) => `Invalid schema for response_format '${name}': ${reason}`;
  if (schema?.["type"] !== "object")
    return invalid(`schema must be a JSON Schema of 'type: "object"', got 'type: "${schema?.["type"]}"'.`);
  if (strict !== true) return undefined;
  const { $defs = {}, ...root } = schema;
  const wrong = [root, ...Object.values($defs as Schema)]
    .map((part) => refusalOf(part, "()", 1))
    .find((one) => one !== undefined);
  return wrong === undefined ? undefined : invalid(wrong);
}

function refusalOf(schema: unknown, at: string, depth: number): string | undefined {
  if (typeof schema !== "object" || schema === null) return `In context=${at}, schema must be an object.`;
  if (depth > depthMax) return `${depth} levels of nesting exceeds limit of ${depthMax}.`;
  const {
    type,
    anyOf,
    $ref,
    properties = {},
    required = [],
    items,
    ...more
  } = schema as Schema & {
    anyOf?: unknown[];
    properties?: Schema;
    required?: string[];
  };
  if (type === undefined && anyOf === undefined && $ref === undefined)
    return `In context=${at}, schema must have a 'type' key.`;
  const strange = Object.keys(more).find((key) => !takes.includes(key));
  if (strange !== undefined) return `In context=${at}, '${strange}' is not permitted.`;
  if (more["format"] !== undefined && !formats.includes(String(more["format"])))
    return `In context=${at}, '${more["format"]}' is not a valid format.`;
  if (type === "object") {
    if (more["additionalProperties"] !== false)
      return `In context=${at}, 'additionalProperties' is required to be supplied and to be false.`;
    const missing = Object.keys(properties).find((name) => !required.includes(name));
    if (missing !== undefined)
      return `In context=${at}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${missing}'.`;
  }
  if (type === "array" && items === undefined) return `In context=${at}, array schema missing items.`;
  return [
    ...Object.entries(properties).map(([name, part]) => refusalOf(part, `('properties', '${name}')`, depth + 1)),
    ...(items === undefined ? [] : [refusalOf(items, `${at} items`, depth + 1)]),
    ...(anyOf ?? []).map((part) => refusalOf(part, `${at} anyOf`, depth + 1)),
  ].find((one) => one !== undefined);
}
