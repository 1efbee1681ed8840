import { hash } from "node:crypto";
import { AiosError, type Code } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import type { Redaction } from "../access/index.ts";
import type { Entry, Note } from "../ledger/index.ts";

/** JSON longer than this stands in the ledger as its hash, length and beginning. */
const recordedLengthMax = 4096;

/** Of whom and what a note speaks. */
export interface Facts {
  readonly executionId: string;
  readonly caller: Identity;
  readonly agentId: string;
  readonly tool: string;
  readonly taskId: string;
  readonly reason: string;
  /** JSON. */
  readonly input: string;
  /** What takes secrets out before anything is hashed. */
  readonly redaction: Redaction;
}

export interface Result {
  readonly success: boolean;
  /** JSON; empty when it failed. */
  readonly output: string;
  /** Empty when it succeeded. */
  readonly error: string;
  /** Of a failure. What the ledger tells later has none: it keeps the words alone. */
  readonly errorCode?: Code;
  /** The daemon ended before it was known what came of it: it may have had its effect. */
  readonly interrupted?: true;
  readonly durationMs: number;
}

export interface Executed extends Result {
  readonly executionId: string;
  /** An undo is prepared. */
  readonly reversible: boolean;
  /** Why what was done cannot be taken back; undefined when it can, or nothing was changed. */
  readonly irreversible?: string | undefined;
}

/** The note that a call is about to be carried out. */
export function intent(facts: Facts): Note {
  const { reason, input, redaction } = facts;
  return {
    ...whose(facts),
    kind: "intent",
    reason: redaction.text(reason),
    input: recorded(redaction.json(input)),
    output: "",
    success: null,
    error: "",
    durationMs: null,
  };
}

/** The note that a call waits for a person; `shown` tells what that person is shown, or which ticket it shares. */
export function asked(facts: Facts, shown: object): Note {
  return { ...intent(facts), kind: "asked", output: recorded(facts.redaction.json(JSON.stringify(shown))) };
}

/** Calls that were the same as one that stands in the ledger in full. */
export interface Repeated {
  readonly success: boolean;
  readonly error: string;
  readonly count: number;
  /** Of one, on average. */
  readonly durationMs: number;
  /** Milliseconds since the epoch, of the first and the last. */
  readonly from: number;
  readonly to: number;
}

/** The note that a call was repeated. `facts` are those of the call that stands in full. */
export function repeated(facts: Facts, { success, error, count, durationMs, from, to }: Repeated): Note {
  const told = { output: JSON.stringify({ count, from, to }), error: facts.redaction.text(error) };
  return { ...intent(facts), kind: "repeats", ...told, success: success ? 1 : 0, durationMs };
}

/** The note of what came of it. Who, what and why stand with the intent. */
export function outcome(facts: Facts, { success, output, error, durationMs }: Result): Note {
  const { redaction } = facts;
  const told = { output: recorded(redaction.json(output)), error: redaction.text(error) };
  const result = { ...told, success: success ? 1 : 0, durationMs } as const;
  return { ...whose(facts), kind: "outcome", reason: "", input: "", ...result };
}

/** The note that a call does not begin any more, since its caller does not want it. */
export function withdrawal(facts: Facts): Note {
  return { ...intent(facts), kind: "withdrawn", error: byItsCaller };
}

/** The error of a call that its caller has withdrawn. */
export const withdrawalError = (id: string): AiosError => new AiosError("ABORTED", `execute ${id}: ${byItsCaller}`);

const byItsCaller = "withdrawn by its caller before it began";

/** The note that a call was refused, and why. */
export function refusal(facts: Facts, error: string): Note {
  return { ...intent(facts), kind: "refusal", error: facts.redaction.text(error) };
}

function whose({
  executionId,
  caller,
  agentId,
  tool,
  taskId,
}: Facts): Pick<Entry, "executionId" | "callerKind" | "caller" | "onBehalfOf" | "tool" | "taskId"> {
  const onBehalfOf = caller.kind === "agent" ? "" : agentId;
  return { executionId, callerKind: caller.kind, caller: caller.name, onBehalfOf, tool, taskId };
}

function recorded(json: string): string {
  if (json.length <= recordedLengthMax) return json;
  return JSON.stringify({
    sha256: hash("sha256", json),
    bytes: Buffer.byteLength(json),
    begins: beginning(json, 256).toWellFormed(),
  });
}
