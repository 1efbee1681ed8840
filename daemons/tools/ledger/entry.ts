import { hash } from "node:crypto";
import type { Identity } from "#lib/rpc/service";

/**
 * What an entry tells: a call that waits for a person (asked), one let through the gate (intent) and what came of it (outcome),
 * or that nobody knows it, since the daemon ended before it was written down (interrupted), a call that was refused, one that its
 * caller has withdrawn before it began, how often one that changes nothing was repeated (repeats), damage to the records that was
 * found at start (fault), that a person has taken note of what is wrong (acknowledged), or that old entries were deleted (pruned).
 */
type EntryKind =
  | "asked"
  | "intent"
  | "outcome"
  | "interrupted"
  | "refusal"
  | "withdrawn"
  | "repeats"
  | "fault"
  | "acknowledged"
  | "pruned";

/** The content of an entry. Empty text and null mean that the kind of entry has no such field. */
export interface Note {
  readonly kind: EntryKind;
  readonly executionId: string;
  readonly callerKind: Identity["kind"] | "";
  readonly caller: string;
  /** The agent for whom a core daemon says that it calls. A claim, not an identity. */
  readonly onBehalfOf: string;
  readonly tool: string;
  readonly taskId: string;
  readonly reason: string;
  readonly input: string;
  readonly output: string;
  readonly success: 0 | 1 | null;
  readonly error: string;
  readonly durationMs: number | null;
}

/**
 * A note as the database keeps it: half a character of one that was cut outside the BMP is no text, and would be stored as
 * another than the one that was hashed.
 */
export const wellFormed = (note: Note): Note => ({
  ...note,
  caller: note.caller.toWellFormed(),
  onBehalfOf: note.onBehalfOf.toWellFormed(),
  tool: note.tool.toWellFormed(),
  taskId: note.taskId.toWellFormed(),
  reason: note.reason.toWellFormed(),
  input: note.input.toWellFormed(),
  output: note.output.toWellFormed(),
  error: note.error.toWellFormed(),
});

const blank: Omit<Note, "kind"> = {
  ...{
    executionId: "",
    callerKind: "",
    caller: "",
    onBehalfOf: "",
    tool: "",
    taskId: "",
    reason: "",
    input: "",
    output: "",
  },
  ...{ success: null, error: "", durationMs: null },
};

/** A note that says no more than this. */
export const noteOf = (said: Pick<Note, "kind"> & Partial<Note>): Note => ({ ...blank, ...said });

/** A note in its place in the chain. */
export interface Entry extends Note {
  /** From 1, without gaps. */
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Hash of the entry before; of the first one, {@link genesis}. */
  readonly previous: Buffer;
  readonly hash: Buffer;
}

/** The hash before the first entry. */
export const genesis: Buffer = Buffer.alloc(32);

/** The fields of an entry beside its own hash, in the order of hashing and of the table. */
export const hashedFields = [
  "sequence",
  "at",
  "kind",
  "executionId",
  "callerKind",
  "caller",
  "onBehalfOf",
  "tool",
  "taskId",
  "reason",
  "input",
  "output",
  "success",
  "error",
  "durationMs",
  "previous",
] as const satisfies readonly (keyof Entry)[];

/** SHA-256 over every field: a JSON array in a fixed order, in which strings, integers and null have one spelling each. */
export function hashOf(entry: Omit<Entry, "hash">): Buffer {
  // Of every call and every entry that is verified: written out, where a loop over the names takes half as long again.
  const fields = [
    "aios-ledger-1",
    entry.sequence,
    entry.at,
    entry.kind,
    entry.executionId,
    entry.callerKind,
    entry.caller,
    entry.onBehalfOf,
    entry.tool,
    entry.taskId,
    entry.reason,
    entry.input,
    entry.output,
    entry.success,
    entry.error,
    entry.durationMs,
    entry.previous.toString("hex"),
  ];
  return hash("sha256", JSON.stringify(fields), "buffer");
}
