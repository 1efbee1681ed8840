import { AiosError, messageOf } from "#lib/errors";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Schema = { readonly [key: string]: Json };

/** Limits: a larger schema or grammar is refused before llama.cpp sees it. */
const schemaLengthMax = 65_536;
const grammarLengthMax = 262_144;
const depthMax = 64;
/** Counts that llama.cpp unrolls; larger ones are left open in the grammar, and the answer's validation judges them. */
const repeatMax = 256;

const terminals = [
  `space ::= " "?`,
  `char ::= [^"\\\\\\x00-\\x1f\\x7f] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})`,
  `string ::= "\\"" char* "\\""`,
  `whole ::= "0" | [1-9] [0-9]{0,15}`,
  `integer ::= "-"? whole`,
  `number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?`,
  `boolean ::= "true" | "false"`,
  `object ::= "{" (string ":" space value ("," space string ":" space value)*)? "}"`,
  `array ::= "[" (value ("," space value)*)? "]"`,
  `value ::= object | array | string | number | boolean | "null"`,
];

/**
 * The GBNF grammar of the JSON that `schemaText` accepts. Keywords that a grammar cannot carry (pattern, minimum, format,
 * uniqueItems, not …) are left out: the grammar accepts somewhat more, and the answer is validated afterwards. Objects have
 * their required properties first, in the order given, and no properties that are not listed.
 * Throws INVALID_ARGUMENT when the text is no schema or is too large.
 */
export function grammarOf(schemaText: string): string {
  try {
    if (schemaText.length > schemaLengthMax) {
      throw new Error(`${schemaText.length} characters, at most ${schemaLengthMax}`);
    }
    const schema: Json = JSON.parse(schemaText);
    const rules = new Rules(schema);
    const root = rules.expression(schema, 0);
    const grammar = [`root ::= ${root}`, ...rules.lines, ...terminals].join("\n");
    if (grammar.length > grammarLengthMax) throw new Error(`its grammar is over ${grammarLengthMax} characters`);
    return grammar;
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: "json_schema",
      reason: messageOf(error),
      next: "send a JSON Schema",
    });
  }
}

/** Named rules for the schemas that are referred to by `$ref`, made as they are met. */
class Rules {
  readonly lines: string[] = [];
  readonly #root: Json;
  readonly #names = new Map<string, string>();

  constructor(root: Json) {
    this.#root = root;
  }

  /** A GBNF expression that matches what `schema` accepts. */
  expression(schema: Json | undefined, depth: number): string {
    if (depth > depthMax) throw new Error(`nested deeper than ${depthMax} levels`);
    if (schema === undefined || schema === true) return "value";
    if (!isSchema(schema)) throw new Error(`${JSON.stringify(schema)} is not a schema that accepts anything`);
    const inner = (part: Json | undefined) => this.expression(part, depth + 1);
    if (typeof schema["$ref"] === "string") return this.#reference(schema["$ref"], depth);
    if (schema["const"] !== undefined) return literal(schema["const"]);
    if (Array.isArray(schema["enum"])) return oneOf(schema["enum"].map(literal));
    const choices = schema["anyOf"] ?? schema["oneOf"];
    if (Array.isArray(choices)) return oneOf(choices.map(inner));
    if (Array.isArray(schema["allOf"])) return inner(merged(schema));
    const type = schema["type"] ?? impliedType(schema);
    if (Array.isArray(type)) return oneOf(type.map((one) => inner({ ...schema, type: one })));
    return typed(schema, type, inner);
  }

  #reference(pointer: string, depth: number): string {
    const known = this.#names.get(pointer);
    if (known !== undefined) return known;
    const name = `ref${this.#names.size}`;
    this.#names.set(pointer, name);
    this.lines.push(`${name} ::= ${this.expression(resolve(this.#root, pointer), depth + 1)}`);
    return name;
  }
}

function typed(schema: Schema, type: Json | undefined, inner: (part: Json | undefined) => string): string {
  switch (type) {
    case undefined:
      return "value";
    case "null":
      return `"null"`;
    case "boolean":
    case "number":
      return type;
    case "integer":
      return typeof schema["minimum"] === "number" && schema["minimum"] >= 0 ? "whole" : "integer";
    case "string":
      return stringOf(schema);
    case "array":
      return arrayOf(schema, inner);
    case "object":
      return objectOf(schema, inner);
    default:
      throw new Error(`${JSON.stringify(type)} is not a type`);
  }
}

function arrayOf(schema: Schema, inner: (part: Json | undefined) => string): string {
  if (Array.isArray(schema["prefixItems"])) {
    return `"[" ${schema["prefixItems"].map(inner).join(` "," space `)} "]"`;
  }
  const item = inner(schema["items"]);
  const least = count(schema["minItems"]) ?? 0;
  const most = count(schema["maxItems"]);
  if (most === 0) return `"[]"`;
  const rest = repeat(Math.max(0, least - 1), most === undefined ? undefined : most - 1);
  const items = `${item} ("," space ${item})${rest}`;
  return `"[" ${least === 0 ? `(${items})?` : items} "]"`;
}

function objectOf(schema: Schema, inner: (part: Json | undefined) => string): string {
  const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const names = [...new Set([...Object.keys(properties), ...required.map(String)])];
  if (names.length === 0) return mapOf(schema["additionalProperties"], inner);
  const member = (name: string) => `${literal(name)} ":" space ${inner(properties[name])}`;
  const needed = names.filter((name) => required.includes(name)).map(member);
  const optional = names.filter((name) => !required.includes(name)).map(member);
  const more = (members: readonly string[]) => members.map((each) => `("," space ${each})?`).join(" ");
  if (needed.length > 0) return `"{" ${needed.join(` "," space `)} ${more(optional)} "}"`;
  const starts = optional.map((each, at) => `${each} ${more(optional.slice(at + 1))}`);
  return `"{" (${starts.join(" | ")})? "}"`;
}

function mapOf(values: Json | undefined, inner: (part: Json | undefined) => string): string {
  if (values === false) return `"{}"`;
  if (values === undefined || values === true) return "object";
  const member = `string ":" space ${inner(values)}`;
  return `"{" (${member} ("," space ${member})*)? "}"`;
}

/** allOf as one schema: properties together, required together, of other keywords the last. */
function merged({ allOf, ...rest }: Schema): Schema {
  const parts = [rest, ...(allOf as readonly Json[])].filter(isSchema);
  const properties = parts.map((part) => part["properties"]).filter(isSchema);
  const required = parts.flatMap((part) => (Array.isArray(part["required"]) ? part["required"] : []));
  return {
    ...Object.assign({}, ...parts),
    ...(properties.length > 0 && { properties: Object.assign({}, ...properties) }),
    ...(required.length > 0 && { required }),
  };
}

function impliedType(schema: Schema): string | undefined {
  if ("properties" in schema || "required" in schema || "additionalProperties" in schema) return "object";
  if ("items" in schema || "prefixItems" in schema || "minItems" in schema || "maxItems" in schema) return "array";
  if ("minLength" in schema || "maxLength" in schema || "pattern" in schema) return "string";
  return undefined;
}

function stringOf(schema: Schema): string {
  const length = repeat(count(schema["minLength"]) ?? 0, count(schema["maxLength"]));
  return length === "*" ? "string" : `"\\"" char${length} "\\""`;
}

function repeat(least: number, most: number | undefined): string {
  const from = Math.min(least, repeatMax);
  if (most === undefined || most > repeatMax) return from === 0 ? "*" : `{${from},}`;
  return `{${from},${Math.max(from, most)}}`;
}

function count(value: Json | undefined): number | undefined {
  return typeof value === "number" && value >= 0 ? Math.floor(value) : undefined;
}

/** A JSON pointer ("#/$defs/task") in the schema itself; other documents are not fetched. */
function resolve(root: Json, pointer: string): Json {
  const parts = pointer.split("/").map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
  if (parts.shift() !== "#") throw new Error(`$ref ${pointer}: only references within the schema are followed`);
  const found = parts.reduce<Json | undefined>((at, part) => (isSchema(at) ? at[part] : undefined), root);
  if (found === undefined) throw new Error(`$ref ${pointer} leads nowhere`);
  return found;
}

function isSchema(value: Json | undefined): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function oneOf(alternatives: readonly string[]): string {
  if (alternatives.length === 0) throw new Error("a choice among nothing");
  return `(${alternatives.join(" | ")})`;
}

/** A value's JSON as a GBNF string. */
function literal(value: Json): string {
  return `"${JSON.stringify(value).replace(/["\\]/g, (letter) => `\\${letter}`)}"`;
}
