/** JSON Schemas as clients send them, as one of 2020-12. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type Schema = { readonly [key: string]: Json };

/** Keywords whose value is a schema, a list of schemas, or schemas by name. All others hold data. */
const oneSchema = ["items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains"];
const moreSchemas = ["propertyNames", "unevaluatedItems", "unevaluatedProperties"];
const schemaLists = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const schemaMaps = ["$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies"];

/**
 * Reads a schema: OpenAI's wrapper ({name, strict, schema}) is taken off, and what older drafts say otherwise is said as in
 * 2020-12. Throws an Error that says what is wrong with the text.
 */
export function readSchema(text: string): Json {
  const root = withoutWrapper(JSON.parse(text) as Json);
  return isSchema(root) ? modern(root, root) : root;
}

/** The parts of a schema that are schemas, with the JSON pointer of each from it ("/properties/a"). */
export function partsOf(schema: Schema): (readonly [string, Json])[] {
  return Object.entries(schema).flatMap(([key, value]): (readonly [string, Json])[] => {
    if (schemaLists.includes(key) && Array.isArray(value))
      return value.map((part, at) => [`/${key}/${at}`, part] as const);
    if ([...oneSchema, ...moreSchemas].includes(key)) return [[`/${key}`, value]];
    if (!schemaMaps.includes(key) || !isSchema(value)) return [];
    return Object.entries(value).map(([name, part]) => [`/${key}/${escapePointer(name)}`, part] as const);
  });
}

export function isSchema(value: Json | undefined): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A name as a JSON pointer writes it. */
export const escapePointer = (name: string) => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** The names of a JSON pointer ("#/$defs/a%20b"). */
export function pointerNames(pointer: string): string[] {
  const names = pointer.split("/").map((name) => decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~"));
  return names.slice(1);
}

function withoutWrapper(value: Json): Json {
  if (!isSchema(value)) return value;
  const { type, json_schema: inner, name, schema } = value;
  if (type === "json_schema" && isSchema(inner)) return withoutWrapper(inner);
  return typeof name === "string" && isSchema(schema) && type === undefined ? schema : value;
}

function modern(schema: Json, root: Schema): Json {
  if (!isSchema(schema)) return schema;
  const parts = Object.entries(schema).map(([key, value]): [string, Json] => {
    const each = (part: Json) => modern(part, root);
    if (schemaLists.includes(key) && Array.isArray(value)) return [key, value.map(each)];
    if ([...oneSchema, ...moreSchemas].includes(key)) return [key, each(value)];
    if (!schemaMaps.includes(key) || !isSchema(value)) return [key, value];
    return [key, Object.fromEntries(Object.entries(value).map(([name, part]) => [name, each(part)]))];
  });
  return rename(Object.fromEntries(parts), root);
}

/** Drafts before 2019-09 look at nothing beside a reference. */
const olderDrafts = /draft-0[34567]/;
const besideReference = ["$ref", "$schema", "$id", "definitions", "$defs", "title", "description"];

function rename(schema: Schema, root: Schema): Schema {
  const all: Record<string, Json> = { ...schema };
  const { $ref, items, additionalItems, dependencies, $id, nullable, type } = schema;
  if (typeof $ref === "string" && olderDrafts.test(String(root["$schema"])))
    for (const key of Object.keys(all)) if (!besideReference.includes(key)) delete all[key];
  if (typeof $ref === "string") all["$ref"] = renamedPointer($ref, root);
  if (Array.isArray(items)) {
    all["prefixItems"] = items;
    delete all["items"];
    if (additionalItems !== undefined) all["items"] = additionalItems;
  }
  delete all["additionalItems"];
  if (isSchema(dependencies)) {
    const entries = Object.entries(dependencies);
    all["dependentRequired"] = Object.fromEntries(entries.filter(([, needs]) => Array.isArray(needs)));
    all["dependentSchemas"] = Object.fromEntries(entries.filter(([, needs]) => !Array.isArray(needs)));
    delete all["dependencies"];
  }
  if (typeof $id === "string" && $id.startsWith("#")) {
    all["$anchor"] = $id.slice(1);
    delete all["$id"];
  }
  for (const [bound, exclusive] of [
    ["minimum", "exclusiveMinimum"],
    ["maximum", "exclusiveMaximum"],
  ] as const) {
    if (typeof all[exclusive] !== "boolean") continue;
    const limit = all[bound];
    if (all[exclusive] === true && limit !== undefined) {
      all[exclusive] = limit;
      delete all[bound];
    } else delete all[exclusive];
  }
  if (nullable === true && type !== undefined) all["type"] = [...(Array.isArray(type) ? type : [type]), "null"];
  delete all["nullable"];
  return all;
}

/** A pointer into a list of items leads to prefixItems now. */
function renamedPointer(pointer: string, root: Schema): string {
  if (!pointer.startsWith("#/")) return pointer;
  let at: Json | undefined = root;
  const names = pointerNames(pointer).map((name) => {
    const list: boolean = name === "items" && isSchema(at) && Array.isArray(at["items"]);
    at = Array.isArray(at) ? at[Number(name)] : isSchema(at) ? at[name] : undefined;
    return list ? "prefixItems" : name;
  });
  return `#/${names.map((name) => encodeURIComponent(escapePointer(name))).join("/")}`;
}
