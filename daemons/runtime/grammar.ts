import { AiosError, messageOf } from "#lib/errors";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Schema = { readonly [key: string]: Json };

/** Limits: a larger schema or grammar is refused before llama.cpp sees it. */
const schemaLengthMax = 65_536;
const grammarLengthMax = 262_144;
const depthMax = 64;
/** Counts that llama.cpp unrolls; larger ones are left open in the grammar, and the answer's validation judges them. */
const repeatMax = 256;
/** Of all counts in one grammar together: each is a rule in llama.cpp's memory. */
const repeatsMax = 20_000;

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

/** The rules of one grammar. What is used more than once gets a name, so that the grammar grows no faster than its schema. */
class Rules {
  readonly lines: string[] = [];
  readonly #root: Json;
  readonly #references = new Map<string, string>();
  #length = 0;
  #repeats = 0;

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
    if (Array.isArray(type)) return oneOf([...new Set(type)].map((one) => inner({ ...schema, type: one })));
    return this.#typed(schema, type, inner);
  }

  #typed(schema: Schema, type: Json | undefined, inner: Inner): string {
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
      case "string": {
        const length = this.#repeat(count(schema["minLength"]) ?? 0, count(schema["maxLength"]));
        return length === "*" ? "string" : `"\\"" char${length} "\\""`;
      }
      case "array":
        return this.#array(schema, inner);
      case "object":
        return this.#object(schema, inner);
      default:
        throw new Error(`${JSON.stringify(type)} is not a type`);
    }
  }

  #array(schema: Schema, inner: Inner): string {
    if (Array.isArray(schema["prefixItems"])) {
      return `"[" ${schema["prefixItems"].map(inner).join(` "," space `)} "]"`;
    }
    const least = count(schema["minItems"]) ?? 0;
    const most = count(schema["maxItems"]);
    if (most === 0) return `"[]"`;
    const item = this.#named(inner(schema["items"]));
    const rest = this.#repeat(Math.max(0, least - 1), most === undefined ? undefined : most - 1);
    const items = `${item} ("," space ${item})${rest}`;
    return `"[" ${least === 0 ? `(${items})?` : items} "]"`;
  }

  #object(schema: Schema, inner: Inner): string {
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    const required = Array.isArray(schema["required"]) ? schema["required"] : [];
    const names = [...new Set([...Object.keys(properties), ...required.map(String)])];
    if (names.length === 0) return this.#map(schema["additionalProperties"], inner);
    const member = (name: string) => this.#named(`${literal(name)} ":" space ${inner(properties[name])}`);
    const needed = names.filter((name) => required.includes(name)).map(member);
    const optional = names.filter((name) => !required.includes(name)).map(member);
    if (needed.length > 0) {
      const more = optional.map((each) => `("," space ${each})?`).join(" ");
      return `"{" ${needed.join(` "," space `)} ${more} "}"`;
    }
    const starts: string[] = [];
    let tail = "";
    for (const each of optional.toReversed()) {
      starts.unshift(`${each} ${tail}`);
      tail = this.#named(`("," space ${each})? ${tail}`);
    }
    return `"{" (${starts.join(" | ")})? "}"`;
  }

  #map(values: Json | undefined, inner: Inner): string {
    if (values === false) return `"{}"`;
    if (values === undefined || values === true) return "object";
    const member = this.#named(`string ":" space ${inner(values)}`);
    return `"{" (${member} ("," space ${member})*)? "}"`;
  }

  #reference(pointer: string, depth: number): string {
    const known = this.#references.get(pointer);
    if (known !== undefined) return known;
    const name = `ref${this.#references.size}`;
    this.#references.set(pointer, name);
    this.#add(name, this.expression(resolve(this.#root, pointer), depth + 1));
    return name;
  }

  #named(expression: string): string {
    const name = `rule${this.lines.length}`;
    this.#add(name, expression);
    return name;
  }

  #add(name: string, expression: string): void {
    this.lines.push(`${name} ::= ${expression}`);
    this.#length += expression.length;
    if (this.#length > grammarLengthMax) throw new Error(`its grammar is over ${grammarLengthMax} characters`);
  }

  #repeat(least: number, most: number | undefined): string {
    const from = Math.min(least, repeatMax);
    const open = most === undefined || most > repeatMax;
    const to = open ? from : Math.max(from, most);
    this.#repeats += to;
    if (this.#repeats > repeatsMax) throw new Error(`its lengths and counts add up to more than ${repeatsMax}`);
    if (open) return from === 0 ? "*" : `{${from},}`;
    return `{${from},${to}}`;
  }
}

type Inner = (part: Json | undefined) => string;

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
