/** One measured value. */
export interface Measure {
  /** Dotted, from the general to the particular: "native.autonomy". */
  readonly name: string;
  readonly value: number;
  /** "percent": 0 to 100, of a core or the like; "share": 0 to 1, of what should have been found; "ratio": of a like figure. */
  readonly unit: "ms" | "MB" | "count" | "per_s" | "percent" | "share" | "ratio" | "times";
  /** The most it may be (for "per_s", "count", "share" and "ratio": the least). */
  readonly budget?: number;
}

/** A line of `npm run bench`: the form that holds for every benchmark. */
export interface Row extends Measure {
  readonly bench: string;
  readonly ok?: boolean;
  readonly commit: string;
  readonly machine: string;
}

const atLeast: readonly Measure["unit"][] = ["count", "per_s", "share", "ratio"];

/** Small numbers are told more exactly. */
const exactly: readonly Measure["unit"][] = ["percent", "share", "ratio"];

/** A measure as a row. `ok` is there when a budget is. */
export function rowOf(bench: string, { name, value, unit, budget }: Measure, commit: string, machine: string): Row {
  // What is small is told more exactly.
  const parts = exactly.includes(unit) ? 1_000 : Math.abs(value) < 10 ? 100 : 10;
  const rounded = Math.round(value * parts) / parts;
  if (budget === undefined) return { bench, name, value: rounded, unit, commit, machine };
  const ok = atLeast.includes(unit) ? value >= budget : value <= budget;
  return { bench, name, value: rounded, unit, budget, ok, commit, machine };
}

/** Rows as a table for a person. */
export function tableOf(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length));
  return rows
    .map(({ name, value, unit, budget, ok }) => {
      const limit = budget === undefined ? "" : `  ${ok ? "ok" : "OVER"}, budget ${budget}`;
      return `${name.padEnd(width)}  ${String(value).padStart(10)} ${unit.padEnd(7)}${limit}`;
    })
    .join("\n");
}
