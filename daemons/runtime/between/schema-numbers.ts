import type { Schema } from "#lib/json-schema";
import { range } from "./schema-values.ts";

/** At most this many places after the point are tried for a number between bounds: more than bounds and steps have. */
const placesMax = 6;
const placesLeast = 3;

/** Digits of a number without a bound on one side. */
const openDigits = 15;

/**
 * A GBNF expression of the numbers between a schema's bounds, undefined where it has none or where those that fit have too many
 * places. `whole`: without a point.
 */
export function numbersBetween(schema: Schema, whole: boolean): string | undefined {
  const bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
  if (!bounds.some((key) => typeof schema[key] === "number")) return undefined;
  const [least, most] = range(schema);
  const needed = Math.max(placesLeast, ...[least, most].map(placesOf));
  const places = whole ? [0] : Array.from({ length: Math.min(needed, placesMax) + 1 }, (_, at) => at);
  const said = places.flatMap((count) => withPlaces(schema, least, most, count));
  return said.length === 0 ? undefined : `(${said.join(" | ")})`;
}

function placesOf(bound: number): number {
  return Number.isFinite(bound) ? (/^-?\d+\.(\d+)$/.exec(String(bound))?.[1] ?? "").length : 0;
}

/** The numbers with this many places, as multiples of the last place. */
function withPlaces(
  { exclusiveMinimum, exclusiveMaximum }: Schema,
  least: number,
  most: number,
  places: number,
): string[] {
  const unit = 10 ** places;
  const end = 10 ** openDigits - 1;
  let first = Math.max(-end, Math.ceil(round(least * unit)));
  let last = Math.min(end, Math.floor(round(most * unit)));
  if (first / unit === exclusiveMinimum) first += 1;
  if (last / unit === exclusiveMaximum) last -= 1;
  const negative = first < 0 ? upTo(Math.max(1, -last), -first, places).map((one) => `"-" ${one}`) : [];
  return [...negative, ...(last >= 0 ? upTo(Math.max(0, first), last, places) : [])];
}

/** Products of decimals, without what binary fractions add. */
const round = (value: number) => (Number.isFinite(value) ? Number(value.toPrecision(15)) : value);

/** The natural numbers of each length on their own: no number begins with a 0 but before the point. */
function upTo(first: number, last: number, places: number): string[] {
  const all: string[] = [];
  for (let length = places + 1; length <= openDigits; length++) {
    const from = Math.max(first, length === places + 1 ? 0 : 10 ** (length - 1));
    const to = Math.min(last, 10 ** length - 1);
    if (from <= to) all.push(digits(pad(from, length), pad(to, length), length - places));
  }
  return all;
}

const pad = (value: number, length: number) => String(value).padStart(length, "0");

/** Digits from `a` to `b`, of one length, with a point before the digit `point`. */
function digits(a: string, b: string, point: number): string {
  if (a === "") return "";
  const dot = point === 0 ? `"." ` : "";
  if (/^0*$/.test(a) && /^9*$/.test(b)) return dot + anyDigits(a.length, point);
  const [low, high] = [Number(a[0]), Number(b[0])];
  const [restA, restB] = [a.slice(1), b.slice(1)];
  const [zeros, nines] = [restA.replace(/./g, "0"), restA.replace(/./g, "9")];
  const next = (first: string, from: string, to: string) => `${dot}${first} ${digits(from, to, point - 1)}`.trim();
  if (low === high) return next(`"${low}"`, restA, restB);
  const middle = [low + (restA === zeros ? 0 : 1), high - (restB === nines ? 0 : 1)] as const;
  const parts = [
    ...(restA === zeros ? [] : [next(`"${low}"`, restA, nines)]),
    ...(middle[0] <= middle[1] ? [next(`[${middle[0]}-${middle[1]}]`, zeros, nines)] : []),
    ...(restB === nines ? [] : [next(`"${high}"`, zeros, restB)]),
  ];
  return parts.length === 1 ? (parts[0] as string) : `(${parts.join(" | ")})`;
}

function anyDigits(count: number, point: number): string {
  const run = (length: number) => (length > 0 ? `[0-9]{${length}}` : "");
  if (point <= 0 || point >= count) return run(count);
  return `${run(point)} "." ${run(count - point)}`;
}
