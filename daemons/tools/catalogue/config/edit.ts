import { parse, stringify, type TomlTable, type TomlValue } from "smol-toml";
import { AiosError } from "#lib/errors";

export type Table = TomlTable;

const isTable = (value: unknown): value is Table =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** The value of a dotted key; undefined when there is none. */
export function valueAt(table: Table, key: string): TomlValue | undefined {
  let at: TomlValue | undefined = table;
  for (const name of key.split(".")) at = isTable(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at;
}

/** `over` laid over `base`, key by key. */
export function merge(base: Table, over: Table): Table {
  const merged: Table = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const below = merged[name];
    merged[name] = isTable(below) && isTable(value) ? merge(below, value) : value;
  }
  return merged;
}

/**
 * The text with the value of a dotted key set, everything else as it was written, comments too.
 * Throws FAILED_PRECONDITION where that cannot be done by lines.
 */
export function setValue(text: string, key: string, value: TomlValue): string {
  const wanted = JSON.stringify(merge(parse(text), tableOf(key.split("."), value)));
  const edited = edit(text, key, value);
  try {
    if (JSON.stringify(sorted(parse(edited))) === JSON.stringify(sorted(JSON.parse(wanted)))) return edited;
  } catch {
    // Told below.
  }
  throw new AiosError("FAILED_PRECONDITION", {
    act: "set",
    object: key,
    reason: "the way it is written in the file is beyond this tool",
    next: "write the file with fs.write",
  });
}

function edit(text: string, key: string, value: TomlValue): string {
  const names = key.split(".");
  const name = names.at(-1) ?? key;
  const table = names.slice(0, -1).join(".");
  const line = stringify({ [name]: value }).trimEnd();
  const lines = text.split("\n");
  const { from, to } = section(lines, table);
  if (from < 0) {
    const end = text === "" || text.endsWith("\n") ? text : `${text}\n`;
    return `${end}\n[${table}]\n${line}\n`;
  }
  const at = lines.findIndex((one, index) => index >= from && index < to && keyOf(one) === name);
  if (at >= 0) lines[at] = `${line}${comment(lines[at] ?? "")}`;
  else lines.splice(lastUsed(lines, from, to), 0, line);
  return lines.join("\n");
}

/** The lines of a table: `from` is -1 when there is none. The top table has no header. */
function section(lines: readonly string[], table: string): { from: number; to: number } {
  const header = lines.findIndex((line) => headerOf(line) === table);
  if (table !== "" && header < 0) return { from: -1, to: -1 };
  const from = table === "" ? 0 : header + 1;
  const next = lines.findIndex((line, at) => at >= from && headerOf(line) !== undefined);
  return { from, to: next < 0 ? lines.length : next };
}

const headerOf = (line: string) => /^\s*\[([A-Za-z0-9_.-]+)\]/.exec(line)?.[1];
const keyOf = (line: string) => /^\s*([A-Za-z0-9_-]+)\s*=/.exec(line)?.[1];

/** The rest of the line behind the value, as it was: "   # why". */
function comment(line: string): string {
  const rest = line.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, (text) => "x".repeat(text.length));
  const [found = ""] = /\s*#.*$/.exec(rest) ?? [];
  return line.slice(line.length - found.length);
}

/** After the last line of a section that says something. */
function lastUsed(lines: readonly string[], from: number, to: number): number {
  let at = to;
  while (at > from && (lines[at - 1] ?? "").trim() === "") at -= 1;
  return at;
}

const tableOf = (names: readonly string[], value: TomlValue): Table =>
  names.reduceRight<TomlValue>((inner, name) => ({ [name]: inner }), value) as Table;

/** With keys in order: a file's order says nothing. */
function sorted(value: unknown): unknown {
  if (!isTable(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, inner]) => [name, sorted(inner)]));
}
