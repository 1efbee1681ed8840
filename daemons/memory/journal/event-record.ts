import { messageOf } from "#lib/errors";
import { refuse } from "../check.ts";

/** An event that is to be appended: an EventRecord of aios-protocol as its JSON text, and what the journal reads of it. */
export interface Draft {
  readonly eventId: string;
  readonly agentId: string;
  /** 0 = whichever comes next. */
  readonly sequence: number;
  readonly text: string;
}

/** Bytes of one event at most. */
const eventBytesMax = 1_048_576;
const idLengthMax = 128;

/** RFC 3339 in UTC, as the crate writes times. */
const moment = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/;

/**
 * Reads an EventRecord. Its text is kept byte for byte, kinds and fields that are not known here included; only `sequence` is
 * set when it is stored. Throws INVALID_ARGUMENT naming the field that is wrong.
 */
export function draftOf(bytes: Uint8Array, sessionId: string, branchId: string): Draft {
  if (bytes.length > eventBytesMax) wrong("", `${bytes.length} bytes, at most ${eventBytesMax}`);
  const { text, record } = parse(bytes);
  const eventId = id(record, "event_id");
  if (id(record, "session_id") !== sessionId) wrong("session_id", `it is not ${sessionId}, to which it is appended`);
  if (id(record, "branch_id") !== branchId) wrong("branch_id", `it is not ${branchId}, to which it is appended`);
  const agentId = record["agent_id"] ?? "";
  if (typeof agentId !== "string") wrong("agent_id", "it is not a string");
  const { timestamp, kind, sequence = 0 } = record as { timestamp?: unknown; kind?: unknown; sequence?: unknown };
  if (typeof timestamp !== "string" || !moment.test(timestamp) || Number.isNaN(Date.parse(timestamp)))
    wrong("timestamp", 'it is not a time in UTC as RFC 3339 has it ("2026-11-21T04:16:38.123Z")');
  if (typeof sequence !== "number" || !Number.isSafeInteger(sequence) || sequence < 0)
    wrong("sequence", "it is not a whole number from 0 on");
  const type = typeof kind === "object" && kind !== null ? (kind as { type?: unknown }).type : undefined;
  if (typeof type !== "string" || type === "") wrong("kind", 'it is not an object with a "type"');
  return { eventId, agentId: agentId as string, sequence: sequence as number, text };
}

function parse(bytes: Uint8Array): { text: string; record: Record<string, unknown> } {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
    const record = JSON.parse(text) as unknown;
    if (typeof record === "object" && record !== null && !Array.isArray(record))
      return { text, record: record as Record<string, unknown> };
  } catch (error) {
    wrong("", `it is not JSON: ${messageOf(error)}`);
  }
  return wrong("", "it is not a JSON object");
}

function id(record: Record<string, unknown>, name: string): string {
  const value = record[name];
  if (typeof value !== "string" || value === "") return wrong(name, "it is not a string with something in it");
  const length = Buffer.byteLength(value);
  return length <= idLengthMax ? value : wrong(name, `${length} bytes, at most ${idLengthMax}`);
}

function wrong(field: string, reason: string): never {
  return refuse("event", field === "" ? "events_json" : `events_json.${field}`, reason);
}

/** The event's JSON with its sequence set, and otherwise byte for byte as it was sent. */
export function stampedJson({ text, sequence }: Draft, assigned: number): string {
  if (sequence === assigned && sequence !== 0) return text;
  const { found, after } = places(text);
  if (found !== undefined) return `${text.slice(0, found.start)}${assigned}${text.slice(found.end)}`;
  return `${text.slice(0, after)},"sequence":${assigned}${text.slice(after)}`;
}

interface Places {
  /** Where the value of the outermost "sequence" is. */
  readonly found: { readonly start: number; readonly end: number } | undefined;
  /** Where the value of "branch_id" ends: the place in the record's order. */
  readonly after: number;
}

/** Looks through the outermost members of a JSON object that has been parsed, so that it is known to be in order. */
function places(text: string): Places {
  let at = 1;
  let after = 0;
  for (;;) {
    at = skip(text, at, /[\s,]*/y);
    if (text[at] === "}") return { found: undefined, after };
    const nameEnd = skip(text, at, stringPattern);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = skip(text, nameEnd, /\s*:\s*/y);
    const end = valueEnd(text, start);
    if (name === "sequence") return { found: { start, end }, after };
    if (name === "branch_id") after = end;
    at = end;
  }
}

const stringPattern = /"(?:[^"\\]|\\.)*"/y;
const scalarPattern = /[^\s,}\]]+/y;
const nextPattern = /[^"{}[\]]*/y;

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return skip(text, start, stringPattern);
  if (first !== "{" && first !== "[") return skip(text, start, scalarPattern);
  let depth = 0;
  for (let at = start; ; ) {
    const character = text[at];
    if (character === '"') at = skip(text, at, stringPattern);
    else {
      if (character === "{" || character === "[") depth++;
      if (character === "}" || character === "]") depth--;
      at++;
      if (depth === 0) return at;
    }
    at = skip(text, at, nextPattern);
  }
}

/** The end of what a sticky pattern matches at a place. */
function skip(text: string, at: number, pattern: RegExp): number {
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}
