import { AiosError, messageOf } from "#lib/errors";

/** Limits of what one record may hold, bytes. */
const idLengthMax = 128;
const textLengthMax = 1_048_576;
const jsonLengthMax = 1_048_576;

/** 1973 to 5138 in milliseconds: what is less is seconds, what is more is microseconds. The clock is not asked: it is set back, too. */
const earliestMs = 1e11;
const latestMs = 1e14;
/** Fields that are times, beside those whose names end with "At". */
const times = new Set(["timestamp", "lastUsed", "since", "until"]);

/**
 * Checks the fields of a record by their names: `id`s, texts, `…Json` (valid JSON), and times (milliseconds).
 * Returns the record; throws INVALID_ARGUMENT naming the field, by its name in the proto.
 */
export function checked<R extends object>(what: string, record: R): R {
  for (const [name, value] of Object.entries(record)) {
    const problem = problemOf(name, value);
    if (problem !== undefined) refuse(what, name, problem);
  }
  return record;
}

/** A field that must be there. */
export function required(what: string, name: string, value: string, act = "store"): void {
  if (value === "") refuse(what, name, "it is empty", act);
}

export function refuse(what: string, name: string, reason: string, act = "store"): never {
  const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  throw new AiosError("INVALID_ARGUMENT", {
    act: `${act} ${what}: read`,
    object: field,
    reason,
    next: "correct the field and send it again",
  });
}

function problemOf(name: string, value: unknown): string | undefined {
  if (value instanceof Uint8Array) return jsonProblem(value);
  if (typeof value === "string") {
    const most = name === "id" || name.endsWith("Id") ? idLengthMax : textLengthMax;
    const length = Buffer.byteLength(value);
    return length > most ? `${length} bytes, at most ${most}` : undefined;
  }
  if (typeof value !== "number") return undefined;
  if (!Number.isFinite(value)) return `${value} is not a number`;
  if (times.has(name) || name.endsWith("At")) return timeProblem(value);
  return name.endsWith("Ms") && value < 0 ? `${value} is negative` : undefined;
}

function jsonProblem(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes.length > jsonLengthMax) return `${bytes.length} bytes, at most ${jsonLengthMax}`;
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return undefined;
  } catch (error) {
    return `it is not JSON: ${messageOf(error)}`;
  }
}

function timeProblem(value: number): string | undefined {
  if (value === 0) return undefined;
  if (value < earliestMs) return `${value} is not milliseconds since the epoch; it looks like seconds`;
  if (value >= latestMs) return `${value} is not milliseconds since the epoch; it looks like microseconds`;
  return undefined;
}
