/**
 * For tests: why Anthropic's API answers a schema with 400. Its words and limits as its guide gives them
 * (platform.claude.com/docs/en/build-with-claude/structured-outputs, excerpts seen 2026-11-30) and as people quote its answers:
 * vercel/ai#17197, agentjido/req_llm#302, BerriAI/litellm#35808 (2026-08), veryfront-code#3918 (2026-08).
 */
type Schema = Record<string, unknown>;

/** Keywords that it takes in every schema, and beside them those of one type. */
const everywhere = ["type", "title", "description", "default", "enum", "const", "anyOf", "allOf", "$ref"];
const known: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems"],
  string: ["format"],
};
const formats = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
const optionalMax = 24;
const unionsMax = 16;

/** The refusal of an `output_config.format.schema`. */
export function refusedFormat(schema: Schema): string | undefined {
  const counts = { optional: 0, unions: 0 };
  const defs = { ...(schema["$defs"] as Schema), ...(schema["definitions"] as Schema) };
  const { $defs: _, definitions: __, $schema: ___, ...root } = schema;
  const wrong =
    [root, ...Object.values(defs)].map((part) => refusalOf(part as Schema, counts)).find((one) => one !== undefined) ??
    (Object.keys(defs).some((name) => reaches(defs, name, name, new Set()))
      ? "Circular references are not supported"
      : undefined) ??
    (counts.optional > optionalMax || counts.unions > unionsMax ? "Schema is too complex." : undefined);
  return wrong === undefined ? undefined : `output_config.format.schema: ${wrong}`;
}

function refusalOf(schema: unknown, counts: { optional: number; unions: number }): string | undefined {
  if (typeof schema !== "object" || schema === null) return "Input should be an object";
  const { type, anyOf, allOf, enum: list, $ref, ...more } = schema as Schema & { anyOf?: unknown[]; allOf?: unknown[] };
  if (typeof $ref === "string" && !/^#\/(\$defs|definitions)\/[^/]+$/.test($ref))
    return `$ref '${$ref}' is not supported`;
  if (Array.isArray(list) && list.some((one) => typeof one === "object" && one !== null))
    return "Enum values must be of a primitive type";
  if (type === undefined && [anyOf, allOf, list, $ref, more["const"]].every((one) => one === undefined))
    return "Schema must have a 'type', or 'anyOf', 'allOf', 'enum', 'const' or '$ref'";
  if (anyOf !== undefined || Array.isArray(type)) counts.unions += 1;
  const types = Array.isArray(type) ? type : [type ?? "any"];
  const takes = [...everywhere, ...types.flatMap((one) => known[one] ?? [])];
  for (const key of Object.keys(more))
    if (!takes.includes(key)) return `For '${types.join("', '")}' type, property '${key}' is not supported`;
  const { format, minItems } = more;
  if (format !== undefined && !formats.includes(String(format))) return `String format '${format}' is not supported`;
  if (minItems !== undefined && minItems !== 0 && minItems !== 1)
    return "For 'array' type, 'minItems' values other than 0 or 1 are not supported";
  if (types.includes("object")) {
    const {
      properties = {},
      required = [],
      additionalProperties: open,
    } = more as { properties?: Schema; required?: string[] } & Schema;
    if (open === undefined) return "For 'object' type, 'additionalProperties' must be explicitly set to false";
    if (open !== false)
      return `For 'object' type, 'additionalProperties: ${JSON.stringify(open)}' is not supported. Please set 'additionalProperties' to false`;
    counts.optional += Object.keys(properties).filter((name) => !required.includes(name)).length;
  }
  const inner = [...Object.values((more["properties"] as Schema) ?? {}), ...(anyOf ?? []), ...(allOf ?? [])];
  return [...inner, ...(more["items"] === undefined ? [] : [more["items"]])]
    .map((part) => refusalOf(part, counts))
    .find((one) => one !== undefined);
}

/** Whether a definition comes to itself again by references. */
function reaches(defs: Schema, from: string, to: string, seen: Set<string>): boolean {
  const names = [...JSON.stringify(defs[from] ?? {}).matchAll(/"\$ref":"#\/[^/]+\/([^"/]+)"/g)].map(
    ([, name = ""]) => name,
  );
  if (names.includes(to)) return true;
  return names.filter((name) => !seen.has(name)).some((name) => reaches(defs, name, to, seen.add(name)));
}

/** The refusal of a tool's `input_schema`: the model is not held to it, and it may be nearly all of JSON Schema. */
export function refusedToolInput(schema: Schema | undefined): string | undefined {
  if (schema?.["type"] !== "object") return "input_schema.type: Field required";
  if (["oneOf", "allOf", "anyOf"].some((key) => key in schema))
    return "input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level";
  return undefined;
}
