import { isSchema, type Json, partsOf, pointerNames, type Schema } from "#lib/json-schema";

/** At most this many ways to read one schema: each choice multiplies those of its neighbours. */
const waysMax = 64;
const depthMax = 64;

/** No value is accepted by it. */
export class Impossible extends Error {}

/**
 * A schema taken apart: ways, each without references and combinations at its root. What fits a way fits the schema as far as
 * a grammar can carry it; oneOf, conditions and what is not are judged by the check of the answer.
 */
export interface Flattener {
  ways(schema: Json | undefined): Schema[];
}

export function flattener(root: Json): Flattener {
  const places = namedPlaces(root);
  // What is referred to twice, in what is referred to twice itself, would be taken apart four times, and so on.
  const known = new Map<Json | undefined, Schema[]>();
  const ways = (schema: Json | undefined, depth: number): Schema[] => {
    const before = known.get(schema);
    if (before !== undefined) return before;
    const apart = takeApart(schema, depth);
    known.set(schema, apart);
    return apart;
  };
  const takeApart = (schema: Json | undefined, depth: number): Schema[] => {
    if (depth > depthMax) throw new Error(`nested deeper than ${depthMax} levels`);
    if (schema === undefined || schema === true) return [{}];
    if (schema === false) return [];
    if (!isSchema(schema)) throw new Error(`${JSON.stringify(schema)} is not a schema that accepts anything`);
    const { $ref, $dynamicRef, allOf, anyOf, oneOf, if: when, then, else: other, ...rest } = schema;
    const { dependentRequired, dependentSchemas, ...plain } = rest;
    const inner = (part: Json | undefined) => ways(part, depth + 1);
    const factors = [
      ...[$ref, $dynamicRef].flatMap((to) => (typeof to === "string" ? [inner(resolve(root, places, to))] : [])),
      ...listOf(allOf).map(inner),
      ...[anyOf, oneOf].filter(Array.isArray).map((choices) => choices.flatMap(inner)),
      ...(when === undefined
        ? []
        : [[...product([inner(when), inner(then)]), ...product([[unless(when)], inner(other)])]]),
      ...dependents(dependentRequired, dependentSchemas).map((choices) => choices.flatMap(inner)),
    ];
    return product([[withoutConst(plain)], ...factors]);
  };
  return { ways: (schema) => ways(schema, 0) };
}

function product(factors: readonly (readonly Schema[])[]): Schema[] {
  let all: Schema[] = [{}];
  for (const factor of factors) {
    const met = all.flatMap((one) => factor.map((other) => meet(one, other))).filter((both) => both !== undefined);
    all = [...new Map(met.map((schema) => [JSON.stringify(schema), schema])).values()];
    if (all.length > waysMax) throw new Error(`its choices combine in more than ${waysMax} ways`);
  }
  return all;
}

/** A constant is a choice of one. */
function withoutConst({ const: only, ...schema }: Schema): Schema {
  if (only === undefined) return schema;
  const list = Array.isArray(schema["enum"]) ? schema["enum"].filter((one) => same(one, only)) : [only];
  return { ...schema, enum: list };
}

const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);

/** Each name with what it brings along: it is missing, or that is so. */
function dependents(required: Json | undefined, schemas: Json | undefined): Json[][] {
  const names = isSchema(required) ? Object.entries(required) : [];
  const more = isSchema(schemas) ? Object.entries(schemas) : [];
  const without = (name: string): Json => ({ properties: { [name]: false } });
  return [
    ...names.map(([name, needs]): Json[] => [without(name), { required: [name, ...listOf(needs)] }]),
    ...more.map(([name, schema]): Json[] => [without(name), { allOf: [{ required: [name] }, schema] }]),
  ];
}

/**
 * The schema that a condition leaves when it does not hold: of one that asks for values of properties, the other
 * values.
 */
function unless(when: Json): Schema {
  const properties = isSchema(when) && isSchema(when["properties"]) ? Object.entries(when["properties"]) : [];
  const [only] = properties;
  if (only === undefined || properties.length > 1 || !isSchema(only[1])) return {};
  const { const: value, enum: list } = only[1];
  const values = value !== undefined ? [value] : Array.isArray(list) ? list : [];
  return values.length === 0 ? {} : { properties: { [only[0]]: { not: { enum: values } } } };
}

/** Places that are referred to by name: "#name" and identifiers. */
function namedPlaces(root: Json): Map<string, Json> {
  const places = new Map<string, Json>([["#", root]]);
  const walk = (schema: Json) => {
    if (!isSchema(schema)) return;
    const { $anchor, $dynamicAnchor, $id } = schema;
    for (const anchor of [$anchor, $dynamicAnchor]) if (typeof anchor === "string") places.set(`#${anchor}`, schema);
    if (typeof $id === "string") places.set($id, schema);
    for (const [, part] of partsOf(schema)) walk(part);
  };
  walk(root);
  return places;
}

/** A JSON pointer ("#/$defs/task"), an anchor or an identifier in the schema itself; other documents are not fetched. */
function resolve(root: Json, places: ReadonlyMap<string, Json>, pointer: string): Json {
  const named = places.get(pointer) ?? places.get(pointer.replace(/#$/, ""));
  if (named !== undefined) return named;
  const [document = "", fragment = ""] = pointer.split("#");
  const from = document === "" ? root : places.get(document);
  if (from === undefined) throw new Error(`$ref ${pointer}: only references within the schema are followed`);
  const found = pointerNames(fragment).reduce<Json | undefined>(
    (at, name) => (Array.isArray(at) ? at[Number(name)] : isSchema(at) ? at[name] : undefined),
    from,
  );
  if (found === undefined || !fragment.startsWith("/")) throw new Error(`$ref ${pointer} leads nowhere`);
  return found;
}

/** The schema of what both accept, as far as a grammar can carry it; undefined where no type is left. */
function meet(a: Schema, b: Schema): Schema | undefined {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const met: Record<string, Json> = {};
  for (const key of keys) {
    const [one, other] = [a[key], b[key]];
    met[key] = one === undefined ? (other as Json) : other === undefined ? one : together(key, one, other);
  }
  if (met["type"] !== undefined && listOf(met["type"]).length === 0 && Array.isArray(met["type"])) return undefined;
  if (a["properties"] !== undefined || b["properties"] !== undefined) met["properties"] = properties(a, b);
  if (Array.isArray(met["prefixItems"])) met["prefixItems"] = prefix(a, b);
  return met;
}

const largest = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"];
const smallest = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"];
const both = ["items", "additionalProperties", "propertyNames", "contains"];

function together(key: string, a: Json, b: Json): Json {
  if (largest.includes(key)) return Math.max(Number(a), Number(b));
  if (smallest.includes(key)) return Math.min(Number(a), Number(b));
  if (both.includes(key)) return a === false || b === false ? false : allOf(a, b);
  if (key === "type") return types(a, b);
  if (key === "required") return [...new Set([...listOf(a), ...listOf(b)])];
  if (key === "enum") return listOf(a).filter((one) => listOf(b).some((other) => same(one, other)));
  if (key === "not") return { anyOf: [a, b] };
  if (key === "patternProperties" && isSchema(a) && isSchema(b)) {
    const shared = Object.entries(b).map(([name, part]) => [name, name in a ? allOf(a[name] as Json, part) : part]);
    return { ...a, ...Object.fromEntries(shared) };
  }
  return b;
}

const same = (a: Json, b: Json) => JSON.stringify(a) === JSON.stringify(b);

function allOf(a: Json, b: Json): Json {
  if (a === true || same(a, b)) return b;
  return b === true ? a : { allOf: [a, b] };
}

function types(a: Json, b: Json): Json {
  const [some, others] = [a, b].map((type) => (Array.isArray(type) ? type : [type]));
  const left = (some ?? []).flatMap((type) => {
    if (others?.includes(type)) return [type];
    if (type === "number" && others?.includes("integer")) return ["integer"];
    return type === "integer" && others?.includes("number") ? ["integer"] : [];
  });
  return left.length === 1 ? (left[0] as Json) : left;
}

function properties(a: Schema, b: Schema): Json {
  const names = [a, b].flatMap(({ properties }) => (isSchema(properties) ? Object.keys(properties) : []));
  return Object.fromEntries([...new Set(names)].map((name) => [name, allOf(propertyOf(a, name), propertyOf(b, name))]));
}

/** The part of an object's schema about one property. */
export function propertyOf(schema: Schema, name: string): Json {
  const { properties: own, patternProperties: patterns, additionalProperties: others = true } = schema;
  const said = isSchema(own) && Object.hasOwn(own, name) ? [own[name] as Json] : [];
  const matching = isSchema(patterns) ? Object.entries(patterns).filter(([pattern]) => fits(pattern, name)) : [];
  const all = [...said, ...matching.map(([, part]) => part)];
  return all.length === 0 ? others : all.reduce(allOf);
}

function fits(pattern: string, name: string): boolean {
  try {
    return new RegExp(pattern, "u").test(name);
  } catch {
    return false;
  }
}

function prefix(a: Schema, b: Schema): Json {
  const [some, others] = [listOf(a["prefixItems"]), listOf(b["prefixItems"])];
  return Array.from({ length: Math.max(some.length, others.length) }, (_, at) =>
    allOf(some[at] ?? a["items"] ?? true, others[at] ?? b["items"] ?? true),
  );
}
