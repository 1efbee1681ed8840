import { isSchema, type Json, type Schema } from "#lib/json-schema";

/** At most this many whole numbers are written out one by one. */
const numbersMax = 1_000;

/** The values that a schema names, without those that its other keywords refuse; undefined where it names none. */
export function literalsOf(schema: Schema): Json[] | undefined {
  const { enum: list } = schema;
  return Array.isArray(list) ? list.filter((value) => admits(schema, value)) : undefined;
}

const equals = (value: Json) => (other: Json) => JSON.stringify(other) === JSON.stringify(value);

function admits(schema: Schema, value: Json): boolean {
  const { type, not } = schema;
  if (type !== undefined && ![type].flat().some((one) => isOf(one as Json, value))) return false;
  const refused = isSchema(not) ? [not, ...(Array.isArray(not["anyOf"]) ? not["anyOf"] : [])] : [];
  for (const one of refused) {
    if (!isSchema(one)) continue;
    const values = one["const"] !== undefined ? [one["const"]] : Array.isArray(one["enum"]) ? one["enum"] : [];
    if (Object.keys(one).length === 1 && values.some(equals(value))) return false;
  }
  if (typeof value === "number") return inRange(schema, value);
  if (typeof value !== "string") return true;
  const length = [...value].length;
  return (
    length >= numberOf(schema, "minLength", 0) && length <= numberOf(schema, "maxLength", Number.POSITIVE_INFINITY)
  );
}

function isOf(type: Json, value: Json): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isSchema(value);
  return type === "integer" ? Number.isInteger(value) : typeof value === type;
}

function inRange(schema: Schema, value: number): boolean {
  const [least, most] = range(schema);
  const { exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  return value >= least && value <= most && value !== above && value !== below;
}

const numberOf = (schema: Schema, key: string, otherwise: number) =>
  typeof schema[key] === "number" ? Number(schema[key]) : otherwise;

export function range(schema: Schema): [number, number] {
  const [least, most] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  return [
    Math.max(numberOf(schema, "minimum", least), numberOf(schema, "exclusiveMinimum", least)),
    Math.min(numberOf(schema, "maximum", most), numberOf(schema, "exclusiveMaximum", most)),
  ];
}

/** The whole numbers between a schema's bounds that are multiples as it says; undefined where there are many. */
export function wholeNumbers(schema: Schema): number[] | undefined {
  const [least, most] = range(schema);
  const step = Number.isInteger(schema["multipleOf"]) ? Number(schema["multipleOf"]) : 1;
  const [first, last] = [Math.ceil(least / step), Math.floor(most / step)];
  if (first > last) return [];
  if (!(last - first < numbersMax)) return undefined;
  const all = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step + 0);
  return all.filter((value) => admits(schema, value));
}
