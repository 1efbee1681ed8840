import type { Sqlite } from "#lib/data/sqlite";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import { answerBytesMax, sizeBytes } from "../records.ts";

export interface Page<R> {
  readonly rows: R[];
  /** Asks for the page after this one; empty when there is none. */
  readonly nextCursor: string;
}

type Value = string | number;

/** A list's filters: conditions in SQL with their values. Those whose value is absent are left out. */
type Filters = readonly (readonly [condition: string, value: Value | undefined])[];

interface List {
  /** "SELECT … FROM table". */
  readonly select: string;
  /** The columns that a list is ordered by and that name a row together: the cursor is their values. */
  readonly order: readonly [string, ...string[]];
  readonly descending: boolean;
}

/**
 * Pages through a list by the place of the last row before, so that a page costs the same wherever it is and rows that come
 * meanwhile shift nothing. An offset passes rows over in the index, without reading them. One statement is prepared for each combination of filters that is used.
 */
export function pager<R extends object>(database: Sqlite, { select, order, descending }: List) {
  const statements = new Map<string, ReturnType<Sqlite["prepare"]>>();
  const direction = descending ? "DESC" : "ASC";
  const after = `(${order.join(", ")}) ${descending ? "<" : ">"} (${order.map(() => "?").join(", ")})`;
  const places = order.map((column, at) => `${column} AS place${at}`).join(", ");
  // A select may have another within its columns: its own table is named last.
  const from = select.lastIndexOf(" FROM ");
  const withPlaces = `${select.slice(0, from)}, ${places}${select.slice(from)}`;
  const prepared = (conditions: readonly string[]) => {
    const key = conditions.join(" AND ");
    const known = statements.get(key);
    if (known !== undefined) return known;
    const where = key === "" ? "" : ` WHERE ${key}`;
    const ordered = order.map((column) => `${column} ${direction}`).join(", ");
    const made = database.prepare(`${withPlaces}${where} ORDER BY ${ordered} LIMIT ? OFFSET ?`);
    statements.set(key, made);
    return made;
  };
  return (filters: Filters, limit: number, cursor: string, offset = 0): Page<R> => {
    const used = filters.filter((filter): filter is [string, Value] => filter[1] !== undefined && filter[1] !== "");
    const place = cursor === "" ? [] : placeOf(cursor, order.length);
    const conditions = [...used.map(([condition]) => condition), ...(place.length > 0 ? [after] : [])];
    const found = prepared(conditions).iterate(...used.map(([, value]) => value), ...place, limit + 1, offset);
    const { records, more } = takePage(found as Iterable<Row>, limit);
    const last = records.at(-1);
    const nextCursor = more && last !== undefined ? cursorOf(order.map((_, at) => last[`place${at}`] as Value)) : "";
    return { rows: records.map((row) => withoutPlace(row, order.length) as R), nextCursor };
  };
}

type Row = Record<string, unknown>;

function withoutPlace(row: Row, places: number): Row {
  for (let at = 0; at < places; at++) delete row[`place${at}`];
  return row;
}

/**
 * As many records, from the first on, as one answer holds, at most `limit`; at least one. No more are read than that and one:
 * records may be large.
 */
export function takePage<R extends object>(
  records: Iterable<R>,
  limit = Number.POSITIVE_INFINITY,
): { readonly records: R[]; readonly more: boolean } {
  const taken: R[] = [];
  let bytes = 0;
  for (const record of records) {
    bytes += sizeBytes(record);
    if (taken.length === limit || (taken.length > 0 && bytes > answerBytesMax)) return { records: taken, more: true };
    taken.push(record);
  }
  return { records: taken, more: false };
}

/** For lists that have no pages. RESOURCE_EXHAUSTED when they are more than an answer holds. */
export function takeAll<R extends object>(what: string, all: Iterable<R>): R[] {
  const { records, more } = takePage(all);
  if (!more) return records;
  throw new AiosError("RESOURCE_EXHAUSTED", {
    act: "read",
    object: what,
    reason: `they are more than the ${answerBytesMax} bytes that one answer holds`,
    next: "read them one by one or by page",
  });
}

function cursorOf(place: readonly Value[]): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

function placeOf(cursor: string, length: number): Value[] {
  try {
    const place = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) as unknown;
    const fine = Array.isArray(place) && place.length === length;
    if (fine && place.every((value) => typeof value === "string" || Number.isFinite(value))) return place;
  } catch {
    // Refused below, with what to do.
  }
  throw new AiosError("INVALID_ARGUMENT", {
    act: "list from",
    object: `cursor "${beginning(cursor, 64)}"`,
    reason: "it is not one of ours",
    next: "send next_cursor of the page before, or nothing",
  });
}

export function unknownError(what: string, id: string): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "find",
    object: `${what} ${id}`,
    reason: "nothing is stored under this name",
  });
}
