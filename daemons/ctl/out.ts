import { stripVTControlCharacters } from "node:util";

/** Where a command writes: text for people, or JSON, one document a line. */
export interface Out {
  readonly json: boolean;
  /** A line for people; nothing in JSON. What a machine said is shown without its control characters. */
  line(text?: string): void;
  /** Rows in columns, for people. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  /** A result, for programs: one line of JSON; nothing in text. */
  document(value: unknown): void;
  /** For people, beside the result (standard error). */
  note(text: string): void;
}

export function openOut(json: boolean, write: (text: string) => void, writeError: (text: string) => void): Out {
  return {
    json,
    line: (text = "") => json || write(`${printable(text)}\n`),
    table(head, rows) {
      if (!json) write(`${columns(head, rows).map(printable).join("\n")}\n`);
    },
    document: (value) => json && write(`${JSON.stringify(value, toPlain)}\n`),
    note: (text) => writeError(`${printable(text)}\n`),
  };
}

/** Rows as lines, each column as wide as its widest cell. */
export function columns(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head.map((title) => title.toUpperCase()), ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => (row[at] ?? "").length)));
  return all.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** Text without what could move a terminal's cursor or change its title. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}

/** Bytes become the JSON that they are, else base64: JSON.stringify has made them {type, data} before it asks. */
function toPlain(_: string, value: unknown): unknown {
  const bytes = value as { type?: unknown; data?: unknown } | null;
  if (bytes?.type !== "Buffer" || !Array.isArray(bytes.data)) return value;
  return fromBytes(Buffer.from(bytes.data as number[]));
}

/** The content of a field of bytes: parsed JSON, nothing, or base64. */
export function fromBytes(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return null;
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return Buffer.from(bytes).toString("base64");
  }
}
