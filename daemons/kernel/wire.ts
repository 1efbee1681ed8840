import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";

/**
 * How one type of aios-protocol is written as JSON and read back: the fields in the order of their declaration, what is absent
 * left out, floats as the crate writes them. Reading drops fields it does not know, as the crate does.
 */
export interface Shape<T> {
  /** JSON text. Throws INVALID_ARGUMENT naming the place when the value is not of the shape. */
  write(value: T, at: string): string;
  /** The value, from parsed JSON. Throws INVALID_ARGUMENT naming the place. */
  read(value: unknown, at: string): T;
}

/** A field that may be absent: left out when undefined; null is read as absent. */
interface Optional<T> {
  readonly optional: Shape<T>;
}

/** A field that is always written and may be absent when read, or (sparse) is left out when it is the default. */
interface Defaulted<T> {
  readonly defaulted: Shape<T>;
  readonly fallback: T;
  readonly sparse: boolean;
}

type Field = Shape<unknown> | Optional<unknown> | Defaulted<unknown>;
type Fields = Readonly<Record<string, Field>>;

/** The type of a field, or of a shape. */
export type TypeOf<F> =
  F extends Optional<infer T> ? T : F extends Defaulted<infer T> ? T : F extends Shape<infer T> ? T : never;

type OptionalKeys<F> = { [K in keyof F]: F[K] extends Optional<unknown> ? K : never }[keyof F];
type Flat<T> = { [K in keyof T]: T[K] };

/** The type of a struct with these fields. */
type Struct<F> = Flat<
  { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: TypeOf<F[K]> } & {
    readonly [K in OptionalKeys<F>]?: TypeOf<F[K]>;
  }
>;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The error for a value that is not of its shape. */
export function wrong(at: string, expected: string, value: unknown): AiosError {
  const found = beginning(JSON.stringify(value) ?? String(value), 80);
  return new AiosError("INVALID_ARGUMENT", { act: "read", object: at, reason: `expected ${expected}, found ${found}` });
}

function checked<T>(expected: string, fits: (value: unknown) => boolean, text = JSON.stringify): Shape<T> {
  const check = (value: unknown, at: string) => {
    if (!fits(value)) throw wrong(at, expected, value);
    return value;
  };
  return {
    write: (value, at) => text(check(value, at)),
    read: (value, at) => check(value, at) as T,
  };
}

const isWhole = (value: unknown, least: number, most: number) =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

export const str = checked<string>("a string", (value) => typeof value === "string");
export const bool = checked<boolean>("true or false", (value) => typeof value === "boolean");
export const u8 = checked<number>("a whole number up to 255", (value) => isWhole(value, 0, 0xff));
export const u32 = checked<number>("a whole number of 32 bits", (value) => isWhole(value, 0, 0xffff_ffff));
export const i32 = checked<number>("a whole number of 32 bits, signed", (value) =>
  isWhole(value, -0x8000_0000, 0x7fff_ffff),
);
/** Whole numbers that JavaScript holds exactly: up to 2^53 - 1. */
export const u64 = checked<number>("a whole number up to 2^53 - 1", (value) =>
  isWhole(value, 0, Number.MAX_SAFE_INTEGER),
);
export const f64 = checked<number>("a number", Number.isFinite, (value) => floatText(value as number));
export const f32 = checked<number>("a number", Number.isFinite, (value) => floatText(shortest32(value as number)));
export const json: Shape<Json> = {
  write: (value, at) => JSON.stringify(value) ?? wrongJson(at, value),
  read: (value, at) => (value === undefined ? wrongJson(at, value) : (value as Json)),
};

function wrongJson(at: string, value: unknown): never {
  throw wrong(at, "JSON", value);
}

/** The number of fewest digits that is the same float of 32 bits: what the crate writes for it. */
function shortest32(value: number): number {
  const wanted = Math.fround(value);
  for (let digits = 1; digits < 9; digits += 1) {
    const candidate = Number(wanted.toPrecision(digits));
    if (Math.fround(candidate) === wanted) return candidate;
  }
  return Number(wanted.toPrecision(9));
}

/** As serde_json writes floats: 1 is "1.0", and exponents begin at 1e16 and below 1e-5. */
function floatText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [, sign = "", first = "", rest = "", power = ""] =
    /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential()) ?? [];
  const digits = first + rest;
  const point = Number(power) + 1;
  if (point > 16 || point <= -5) return `${sign}${first}${rest === "" ? "" : `.${rest}`}e${point - 1}`;
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  if (digits.length <= point) return `${sign}${digits.padEnd(point, "0")}.0`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** One of these words. */
export function word<const W extends string>(...words: readonly W[]): Shape<W> {
  return checked<W>(`one of ${words.join(", ")}`, (value) => words.includes(value as W));
}

export function list<T>(item: Shape<T>): Shape<readonly T[]> {
  return {
    write: (values, at) => `[${values.map((value, index) => item.write(value, `${at}[${index}]`)).join(",")}]`,
    read: (values, at) => {
      if (!Array.isArray(values)) throw wrong(at, "a list", values);
      return values.map((value, index) => item.read(value, `${at}[${index}]`));
    },
  };
}

export function optional<T>(shape: Shape<T>): Optional<T> {
  return { optional: shape };
}

export function defaulted<T>(shape: Shape<T>, fallback: T): Defaulted<T> {
  return { defaulted: shape, fallback, sparse: false };
}

/** A list that is left out when it is empty. */
export function sparse<T>(shape: Shape<readonly T[]>): Defaulted<readonly T[]> {
  return { defaulted: shape, fallback: [], sparse: true };
}

/** An object of these fields; `tag` is written first, as `{"type":"Message", …}`. */
export function struct<F extends Fields>(fields: F, tag?: readonly [name: string, value: string]): Shape<Struct<F>> {
  const names = Object.keys(fields);
  const keys = names.map((name) => `${JSON.stringify(name)}:`);
  const begin = tag === undefined ? "" : `${JSON.stringify(tag[0])}:${JSON.stringify(tag[1])}`;
  return {
    write: (value, at) => {
      let members = begin;
      for (const [index, name] of names.entries()) {
        const text = fieldText(fields[name] as Field, (value as Record<string, unknown>)[name], `${at}.${name}`);
        if (text !== undefined) members += `${members === "" ? "" : ","}${keys[index]}${text}`;
      }
      return `{${members}}`;
    },
    read: (value, at) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(at, "an object", value);
      const found: Record<string, unknown> = tag === undefined ? {} : { [tag[0]]: tag[1] };
      for (const name of names) {
        const read = fieldValue(fields[name] as Field, (value as Record<string, unknown>)[name], `${at}.${name}`);
        if (read !== undefined) found[name] = read;
      }
      return found as Struct<F>;
    },
  };
}

function fieldText(field: Field, value: unknown, at: string): string | undefined {
  if ("optional" in field) return value === undefined ? undefined : field.optional.write(value, at);
  if (!("defaulted" in field)) return field.write(value, at);
  const given = value ?? field.fallback;
  if (field.sparse && (given as readonly unknown[]).length === 0) return undefined;
  return field.defaulted.write(given, at);
}

function fieldValue(field: Field, value: unknown, at: string): unknown {
  if ("optional" in field) return value === undefined || value === null ? undefined : field.optional.read(value, at);
  if ("defaulted" in field) return value === undefined ? field.fallback : field.defaulted.read(value, at);
  return field.read(value, at);
}

/** The type of a union of structs, told apart by the tag. */
export type Tagged<N extends string, V extends Readonly<Record<string, Fields>>> = {
  [K in keyof V]: Flat<{ readonly [T in N]: K } & Struct<V[K]>>;
}[keyof V];

/** A union of structs, told apart by the field `tag`. */
export function tagged<const N extends string, V extends Readonly<Record<string, Fields>>>(
  tag: N,
  variants: V,
): Shape<Tagged<N, V>> & { has(name: unknown): boolean } {
  const shapes = new Map<unknown, Shape<unknown>>(
    Object.entries(variants).map(([name, fields]) => [name, struct(fields, [tag, name])]),
  );
  const shapeOf = (value: unknown, at: string) => {
    const shape = shapes.get((value as Record<string, unknown> | null)?.[tag]);
    if (shape === undefined) throw wrong(at, `${tag} to be one of ${[...shapes.keys()].join(", ")}`, value);
    return shape;
  };
  return {
    has: (name) => shapes.has(name),
    write: (value, at) => shapeOf(value, at).write(value, at),
    read: (value, at) => shapeOf(value, at).read(value, at) as Tagged<N, V>,
  };
}
