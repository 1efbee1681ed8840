import { AiosError, messageOf } from "#lib/errors";
import { escapePointer, isSchema, type Json, readSchema, type Schema } from "#lib/json-schema";
import { underWatchdog } from "#lib/linux/watchdog";
import { type Flattener, flattener, Impossible, propertyOf } from "./schema-flat.ts";
import { numbersBetween } from "./schema-numbers.ts";
import { literalsOf, range, wholeNumbers } from "./schema-values.ts";

/** Limits: a larger schema or grammar is refused before llama.cpp sees it. */
const schemaLengthMax = 65_536;
const grammarLengthMax = 262_144;
const depthMax = 64;
/** Counts that llama.cpp unrolls; larger ones are left open in the grammar, and the answer's validation judges them. */
const repeatMax = 256;
/** The sum of all counts in one grammar: each is a rule in llama.cpp's memory. */
const repeatsMax = 20_000;

/** A regular expression of a caller's can take for ever on a name, and parts can combine without end: all have this long. */
const writeTimeoutMs = 2_000;

const terminals = [
  `space ::= " "?`,
  `char ::= [^"\\\\\\x00-\\x1f\\x7f] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})`,
  `string ::= "\\"" char* "\\""`,
  `whole ::= "0" | [1-9] [0-9]{0,15}`,
  `integer ::= "-"? whole`,
  // An exponent of three digits can be past the largest number.
  `number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?`,
  `boolean ::= "true" | "false"`,
  `object ::= "{" (string ":" space value ("," space string ":" space value)*)? "}"`,
  `array ::= "[" (value ("," space value)*)? "]"`,
  `value ::= object | array | string | number | boolean | "null"`,
];

/**
 * The GBNF grammar of the JSON that `schemaText` accepts. Keywords that a grammar cannot carry (pattern, format,
 * uniqueItems, not …) are left out: the grammar accepts somewhat more, and the answer is validated afterwards. Objects have
 * their required properties first, in the order given, and no properties that are not listed.
 * Throws INVALID_ARGUMENT, with the JSON pointer of the part, when the text is no schema, is too large or accepts nothing.
 */
export function grammarOf(schemaText: string): string {
  try {
    if (schemaText.length > schemaLengthMax) {
      throw new Error(`${schemaText.length} characters, at most ${schemaLengthMax}`);
    }
    const schema = readSchema(schemaText);
    const write = () => {
      const rules = new Rules(schema);
      const root = rules.expression(schema, "#", 0);
      return [`root ::= ${root}`, ...rules.lines, ...terminals].join("\n");
    };
    const grammar = underWatchdog(write, writeTimeoutMs);
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

/** An error that names its place already. */
class Placed extends Error {}

type Inner = (part: Json | undefined, at: string) => string;

/** The rules of one grammar. What is used more than once gets a name, so that the grammar grows no faster than its schema. */
class Rules {
  readonly lines: string[] = [];
  readonly #flat: Flattener;
  readonly #known = new Map<string, string>();
  #length = 0;
  #repeats = 0;

  constructor(root: Json) {
    this.#flat = flattener(root);
  }

  /** A GBNF expression that matches what `schema` accepts. `at` is the part's JSON pointer. Throws Impossible when nothing is. */
  expression(schema: Json | undefined, at: string, depth: number): string {
    if (depth > depthMax) throw new Error(`nested deeper than ${depthMax} levels`);
    if (schema === undefined || schema === true) return "value";
    if (!isSchema(schema))
      throw new Impossible(`${at}: ${JSON.stringify(schema)} is not a schema that accepts anything`);
    // What refers to something may come to itself again.
    if (!["$ref", "$dynamicRef", "allOf"].some((key) => key in schema)) return this.#ways(schema, at, depth);
    const key = JSON.stringify(schema);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const name = `ref${this.#known.size}`;
    this.#known.set(key, name);
    this.#add(name, this.#ways(schema, at, depth));
    return name;
  }

  #ways(schema: Schema, at: string, depth: number): string {
    const ways = placed(at, () => this.#flat.ways(schema));
    const reasons: string[] = [];
    const said = ways.flatMap((way) => {
      const one = this.#tried(() => this.#way(way, at, depth));
      if (!(one instanceof Impossible)) return [one];
      reasons.push(one.message);
      return [];
    });
    if (said.length === 0) throw new Impossible(reasons[0] ?? `${at}: its parts leave nothing that is accepted`);
    return said.length === 1 ? (said[0] as string) : oneOf([...new Set(said)]);
  }

  /** The result of `make`; the rules that were made for what cannot be are taken back. */
  #tried(make: () => string): string | Impossible {
    const [lines, known] = [this.lines.length, this.#known.size];
    try {
      return make();
    } catch (error) {
      if (!(error instanceof Impossible)) throw error;
      this.lines.length = lines;
      for (const key of [...this.#known.keys()].slice(known)) this.#known.delete(key);
      return error;
    }
  }

  #way(schema: Schema, at: string, depth: number): string {
    const inner: Inner = (part, name) => this.expression(part, `${at}${name}`, depth + 1);
    const literals = placed(at, () => literalsOf(schema));
    if (literals !== undefined) {
      if (literals.length === 0) throw new Impossible(`${at}: a choice among nothing`);
      return oneOf(literals.map(literal));
    }
    const type = typesOf(schema);
    if (!Array.isArray(type)) return placed(at, () => this.#typed(schema, type, at, inner));
    const said = type.map((one) => this.#typed(schema, one, at, inner));
    if (said.length === 0) throw new Impossible(`${at}: no type is left that is accepted`);
    return oneOf([...new Set(said)]);
  }

  #typed(schema: Schema, type: Json | undefined, at: string, inner: Inner): string {
    switch (type) {
      case undefined:
        return "value";
      case "null":
        return `"null"`;
      case "boolean":
        return type;
      case "number":
        return this.#number(schema, at);
      case "integer":
        return this.#integer(schema, at);
      case "string":
        return this.#string(schema, at);
      case "array":
        return this.#array(schema, at, inner);
      case "object":
        return this.#object(schema, at, inner);
      default:
        throw new Placed(`${at}: ${JSON.stringify(type)} is not a type`);
    }
  }

  #integer(schema: Schema, at: string): string {
    const few = wholeNumbers(schema);
    if (few?.length === 0) throw new Impossible(`${at}: no whole number is accepted`);
    if (few !== undefined) return this.#shared(oneOf(few.map(literal)));
    const between = numbersBetween(schema, true);
    return between === undefined ? "integer" : this.#shared(between);
  }

  #number(schema: Schema, at: string): string {
    const [least, most] = range(schema);
    if (least > most) throw new Impossible(`${at}: its least is more than its most`);
    const between = numbersBetween(schema, false);
    return between === undefined ? "number" : this.#shared(between);
  }

  #string(schema: Schema, at: string): string {
    const [least, most] = bounds(schema, "minLength", "maxLength", at);
    const length = this.#repeat(least, most);
    return length === "*" ? "string" : `"\\"" char${length} "\\""`;
  }

  #array(schema: Schema, at: string, inner: Inner): string {
    const [least, most = Number.POSITIVE_INFINITY] = bounds(schema, "minItems", "maxItems", at);
    const prefix = (Array.isArray(schema["prefixItems"]) ? schema["prefixItems"] : []).slice(0, most);
    const first = prefix.map((part, index) => inner(part, `/prefixItems/${index}`));
    // After the first ones come more only where so many are asked for: what they are is seldom said.
    const some = Math.max(0, least - first.length);
    if (first.length > 0 && some === 0) return `"[" ${first.join(` "," space `)} "]"`;
    if (most === 0) return `"[]"`;
    const item = this.#item(schema, some, inner);
    if (item === undefined) return `"[]"`;
    const head = first.length > 0 ? `${first.join(` "," space `)} "," space ` : "";
    const room = most === Number.POSITIVE_INFINITY ? undefined : most - first.length - 1;
    const items = `${item} ("," space ${item})${this.#repeat(Math.max(0, some - 1), room)}`;
    return `"[" ${head}${some === 0 ? `(${items})?` : items} "]"`;
  }

  /** An item of a list, undefined where none can be and none must. */
  #item({ items, contains }: Schema, least: number, inner: Inner): string | undefined {
    const make = () => this.#shared(items === undefined ? inner(contains, "/contains") : inner(items, "/items"));
    return this.#possible(make, least > 0);
  }

  /** Undefined for what cannot be and need not. */
  #possible(make: () => string, needed: boolean): string | undefined {
    const made = this.#tried(make);
    if (!(made instanceof Impossible)) return made;
    if (needed) throw made;
    return undefined;
  }

  #object(schema: Schema, at: string, inner: Inner): string {
    const [least, most = Number.POSITIVE_INFINITY] = bounds(schema, "minProperties", "maxProperties", at);
    const required = (Array.isArray(schema["required"]) ? schema["required"] : []).map(String);
    const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
    const listed = [...new Set([...Object.keys(properties), ...required, ...this.#namesOf(schema)])];
    if (listed.length === 0) return this.#map(schema, least, most, inner);
    const members = listed.flatMap((name) => {
      const member = this.#member(schema, name, required.includes(name), inner);
      return member === undefined ? [] : [{ name, member, needed: required.includes(name) }];
    });
    // So many as must be there are there, and no more than may.
    const needed = members.filter((one) => one.needed);
    const others = members.filter((one) => !one.needed);
    const first = others.slice(0, Math.max(0, least - needed.length));
    if (needed.length > most) throw new Impossible(`${at}: more properties are required than maxProperties allows`);
    if (needed.length + first.length < least)
      throw new Impossible(`${at}: fewer properties are listed than minProperties asks for`);
    const rest = others.slice(first.length).slice(0, Math.max(0, most - needed.length - first.length));
    return this.#members(
      [...needed, ...first].map(({ member }) => member),
      rest.map(({ member }) => member),
    );
  }

  /** Names that a map may have, where they are told. */
  #namesOf({ propertyNames }: Schema): string[] {
    if (propertyNames === undefined) return [];
    const ways = this.#flat.ways(propertyNames).map((way) => literalsOf(way));
    return ways.every((way) => way !== undefined) ? ways.flat().filter((name) => typeof name === "string") : [];
  }

  #member(schema: Schema, name: string, needed: boolean, inner: Inner): string | undefined {
    return this.#possible(() => {
      const value = inner(propertyOf(schema, name), `/properties/${escapePointer(name)}`);
      return this.#named(`${literal(name)} ":" space ${value}`);
    }, needed);
  }

  #members(needed: readonly string[], optional: readonly string[]): string {
    if (needed.length > 0) {
      const more = optional.map((each) => `("," space ${each})?`).join(" ");
      return `"{" ${needed.join(` "," space `)} ${more} "}"`;
    }
    if (optional.length === 0) return `"{}"`;
    const starts: string[] = [];
    let tail = "";
    for (const each of optional.toReversed()) {
      starts.unshift(`${each} ${tail}`);
      tail = this.#named(`("," space ${each})? ${tail}`);
    }
    return `"{" (${starts.join(" | ")})? "}"`;
  }

  #map(schema: Schema, least: number, most: number, inner: Inner): string {
    const { additionalProperties: others = true, patternProperties: patterns } = schema;
    const parts = isSchema(patterns) ? Object.entries(patterns) : [];
    if (parts.length === 0 && others === true && least === 0 && most === Number.POSITIVE_INFINITY) return "object";
    const said = parts.map(([pattern, part]) => inner(part, `/patternProperties/${escapePointer(pattern)}`));
    const values = others === false ? said : [...said, inner(others, "/additionalProperties")];
    if (most === 0 || (values.length === 0 && least === 0)) return `"{}"`;
    if (values.length === 0) inner(false, "/additionalProperties");
    const member = this.#named(`string ":" space ${oneOf([...new Set(values)])}`);
    const room = most === Number.POSITIVE_INFINITY ? undefined : most - 1;
    const all = `${member} ("," space ${member})${this.#repeat(Math.max(0, least - 1), room)}`;
    return `"{" ${least === 0 ? `(${all})?` : all} "}"`;
  }

  /** A long expression by a name, one that was there before by the same. */
  #shared(expression: string): string {
    const key = `=${expression}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const name = this.#named(expression);
    this.#known.set(key, name);
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

/** An error of a part, with the part's place. */
function placed<T>(at: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Impossible || error instanceof Placed) throw error;
    const reason = messageOf(error);
    throw reason.startsWith("#") || !(error instanceof Error) ? error : new Placed(`${at}: ${reason}`);
  }
}

/** The types of a schema: told, or implied by its keywords; without those that are told not to be. */
function typesOf(schema: Schema): Json | undefined {
  const type = schema["type"] ?? impliedType(schema);
  const not = isSchema(schema["not"]) ? schema["not"] : {};
  const types = Array.isArray(type) ? [...new Set(type)] : type;
  const refused = Object.keys(not).length === 1 && not["type"] !== undefined ? [not["type"]].flat() : [];
  if (refused.length === 0 || types === undefined) return types;
  return [types].flat().filter((one) => !refused.includes(one as string));
}

function impliedType(schema: Schema): string | undefined {
  const has = (...keys: string[]) => keys.some((key) => key in schema);
  if (has("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"))
    return "object";
  if (has("propertyNames", "dependentRequired", "dependentSchemas")) return "object";
  if (has("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems")) return "array";
  if (has("minLength", "maxLength", "pattern", "format")) return "string";
  return has("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf") ? "number" : undefined;
}

/** A least and a most count; none is no limit. */
function bounds(schema: Schema, from: string, to: string, at: string): [number, number | undefined] {
  const [least = 0, most] = [count(schema[from]), count(schema[to])];
  if (most !== undefined && least > most) throw new Impossible(`${at}: ${from} is more than ${to}`);
  return [least, most];
}

function count(value: Json | undefined): number | undefined {
  return typeof value === "number" && value >= 0 ? Math.floor(value) : undefined;
}

function oneOf(alternatives: readonly string[]): string {
  return `(${alternatives.join(" | ")})`;
}

/** A value's JSON as a GBNF string. */
function literal(value: Json): string {
  return `"${JSON.stringify(value).replace(/["\\]/g, (letter) => `\\${letter}`)}"`;
}
