/**
 * A schema is asked for as its provider takes it, and checked by us. Each protocol has a table of what its structured
 * output takes (`claude-schema.ts`, `openai-schema.ts`): the rest of a schema is told in descriptions, objects are
 * closed, and a schema that cannot be said so (open maps, trees for Claude, tuples) is told in words. The answer is
 * read out of fences and reasoning (`#lib/said-json`) and checked by the whole schema; one that does not fit is asked
 * for once more, with what is wrong.
 */
import { isObject, own } from "./wire.ts";

export type Schema = Readonly<Record<string, unknown>>;

/** The part of JSON Schema that one provider's structured output takes. */
export interface Dialect {
  /** Keywords of texts, numbers and lists that it takes, and with which values. All others are told in the description. */
  readonly keywords: Readonly<Record<string, (value: unknown) => boolean>>;
  /** It takes objects only whose properties are all required. */
  readonly allRequired: boolean;
  /** It takes an object at the root and nothing else. */
  readonly objectRoot: boolean;
  readonly recursion: boolean;
  /** At most this many in a whole schema. */
  readonly optionalMax: number;
  readonly unionsMax: number;
  readonly literalsMax: number;
  readonly depthMax: number;
}

/** A part that the dialect has no words for, and without which only wrong answers could come. */
class Unsayable extends Error {}

/**
 * A schema as a dialect takes it, or undefined when it cannot be said in it. What is left out is told in descriptions, and
 * objects are closed: whatever answers to it is still to be checked by the schema itself.
 */
export function fitSchema(schema: Schema, dialect: Dialect): Schema | undefined {
  try {
    const fit = new Fit(schema, dialect);
    const whole = fit.node(schema, 0);
    if (dialect.objectRoot && whole["type"] !== "object") return undefined;
    return { ...whole, ...fit.definitions() };
  } catch (error) {
    if (error instanceof Unsayable) return undefined;
    throw error;
  }
}

/** The instruction to a model whose provider cannot hold it to a schema. */
export function schemaInWords(schema: Schema): string {
  return `Answer with JSON alone, without a fence or any words around it. This JSON Schema must accept it:\n${JSON.stringify(schema)}`;
}

const annotations = ["description", "title", "$schema", "$id", "$comment", "$defs", "definitions", "$anchor"];

class Fit {
  readonly #root: Schema;
  readonly #dialect: Dialect;
  readonly #definitions = new Map<string, Schema>();
  readonly #open: string[] = [];
  #optional = 0;
  #unions = 0;
  #literals = 0;

  constructor(root: Schema, dialect: Dialect) {
    this.#root = root;
    this.#dialect = dialect;
  }

  /** The definitions that were referred to. */
  definitions(): Schema {
    return this.#definitions.size === 0 ? {} : { $defs: Object.fromEntries(this.#definitions) };
  }

  node(value: unknown, depth: number): Schema {
    if (!isObject(value) || depth > this.#dialect.depthMax) throw new Unsayable();
    const { $ref, anyOf, oneOf, allOf } = value;
    if (typeof $ref === "string") return describe({ $ref: this.#reference($ref) }, without(value, ["$ref"]));
    if (Array.isArray(allOf) && allOf.length === 1 && isObject(allOf[0]) && alone(value, "allOf"))
      return this.node({ ...without(value, ["allOf"]), ...allOf[0] }, depth);
    if (allOf !== undefined) throw new Unsayable();
    const choices = anyOf ?? oneOf;
    if (choices !== undefined) return this.#choice(value, choices, depth);
    const { type = impliedType(value) } = value;
    if (Array.isArray(type) && (type.length === 1 || type.some((one) => one === "object" || one === "array")))
      return this.#choice(
        {},
        [...type].map((one) => ({ ...value, type: one })),
        depth,
      );
    return this.#typed({ ...value, type }, depth);
  }

  #choice(value: Schema, choices: unknown, depth: number): Schema {
    const key = value["anyOf"] === undefined ? "oneOf" : "anyOf";
    if (!Array.isArray(choices) || !alone(value, key)) throw new Unsayable();
    if (choices.length === 1) return this.node(choices[0], depth);
    if (++this.#unions > this.#dialect.unionsMax) throw new Unsayable();
    return describe({ anyOf: choices.map((one) => this.node(one, depth + 1)) }, without(value, ["anyOf", "oneOf"]));
  }

  #typed(value: Schema, depth: number): Schema {
    const { type } = value;
    if (type === "object") return this.#object(value, depth);
    if (type === "array") return this.#array(value, depth);
    if (Array.isArray(type) && ++this.#unions > this.#dialect.unionsMax) throw new Unsayable();
    const { enum: list, const: only } = value;
    const literals = only !== undefined ? [only] : Array.isArray(list) ? list : [];
    if (literals.some((one) => typeof one === "object" && one !== null)) throw new Unsayable();
    if (type === undefined && literals.length === 0) throw new Unsayable();
    this.#literals += literals.length;
    if (this.#literals > this.#dialect.literalsMax) throw new Unsayable();
    const kept = {
      type: type ?? [...new Set(literals.map(typeOf))],
      ...(only !== undefined ? { const: only } : list !== undefined && { enum: list }),
    };
    if (Array.isArray(kept.type) && kept.type.length === 1) kept.type = kept.type[0];
    return this.#describe(kept, without(value, ["type", "enum", "const"]));
  }

  #object(value: Schema, depth: number): Schema {
    const { additionalProperties, minProperties = 0 } = value;
    const properties = isObject(value["properties"]) ? value["properties"] : {};
    const required = Array.isArray(value["required"]) ? value["required"] : [];
    const names = Object.keys(properties);
    if (names.length === 0 && additionalProperties !== false) throw new Unsayable();
    if (required.some((name) => !names.includes(name)) || Number(minProperties) > names.length) throw new Unsayable();
    const optional = names.length - new Set(required).size;
    this.#optional += optional;
    if (optional > 0 && this.#dialect.allRequired) throw new Unsayable();
    // Under such a dialect to close an object that is told to be open is another schema.
    if (this.#dialect.allRequired && additionalProperties !== undefined && additionalProperties !== false)
      throw new Unsayable();
    if (this.#optional > this.#dialect.optionalMax) throw new Unsayable();
    const members = names.map((name) => [name, this.node(properties[name], depth + 1)]);
    const kept = { type: "object", properties: Object.fromEntries(members), required, additionalProperties: false };
    return describe(kept, without(value, Object.keys(kept)));
  }

  #array(value: Schema, depth: number): Schema {
    if (value["prefixItems"] !== undefined) throw new Unsayable();
    const kept = { type: "array", items: this.node(value["items"], depth + 1) };
    return this.#describe(kept, without(value, ["type", "items"]));
  }

  /** Keeps the keywords of a text, number or list that the dialect takes, and tells the others. */
  #describe(kept: Schema, more: Schema): Schema {
    const taken = Object.entries(more).filter(([key, value]) => own(this.#dialect.keywords, key)?.(value));
    return describe(
      { ...kept, ...Object.fromEntries(taken) },
      without(
        more,
        taken.map(([key]) => key),
      ),
    );
  }

  #reference(pointer: string): string {
    const [, name = ""] = /^#\/(?:\$defs|definitions)\/([^/]+)$/.exec(pointer) ?? [];
    const definition = [this.#root["$defs"], this.#root["definitions"]]
      .map((all) => isObject(all) && all[name])
      .find(isObject);
    if (definition === undefined) throw new Unsayable();
    if (this.#open.includes(name) && !this.#dialect.recursion) throw new Unsayable();
    if (!this.#definitions.has(name)) {
      this.#definitions.set(name, {});
      this.#open.push(name);
      this.#definitions.set(name, this.node(definition, 1));
      this.#open.pop();
    }
    return `#/$defs/${name}`;
  }
}

/** Adds what is left out to the description, where the model reads it. */
function describe(kept: Schema, left: Schema): Schema {
  const { description, title } = left;
  const rest = Object.entries(without(left, annotations)).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  const words = [
    ...(typeof description === "string" ? [description] : []),
    ...(rest.length > 0 ? [`{${rest.join(", ")}}`] : []),
  ];
  return {
    ...kept,
    ...(typeof title === "string" && { title }),
    ...(words.length > 0 && { description: words.join("\n\n") }),
  };
}

/** A tool's input without the choices at its root, which no provider takes there: the tool itself checks its input. */
export function toolInput(schema: Schema): Schema & { type: "object" } {
  const left = Object.fromEntries(choices.flatMap((key) => (key in schema ? [[key, schema[key]]] : [])));
  const { description } = describe({}, { description: schema["description"], ...left });
  return { ...without(schema, choices), type: "object", ...(typeof description === "string" && { description }) };
}

const choices = ["anyOf", "oneOf", "allOf"];

/** Whether nothing stands beside a keyword that says what is accepted. */
const alone = (schema: Schema, key: string) => Object.keys(without(schema, [key, ...annotations])).length === 0;

const without = (schema: Schema, keys: readonly string[]): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));

function impliedType(schema: Schema): string | undefined {
  if ("properties" in schema || "required" in schema) return "object";
  return "items" in schema ? "array" : undefined;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Number.isInteger(value) ? "integer" : typeof value;
}
