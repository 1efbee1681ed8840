import type { Sqlite } from "#lib/data/sqlite";
import type { Entry } from "./entry.ts";

/** The calls to look for; empty text and 0 mean any. */
export interface AuditFilter {
  readonly caller: string;
  readonly tool: string;
  readonly executionId?: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly limit: number;
}

/** A call as the ledger has it: its intent (or refusal), with its outcome where there is one; until then what was asked; or how often one was repeated. */
interface AuditedCall
  extends Pick<
    Entry,
    "sequence" | "at" | "executionId" | "callerKind" | "caller" | "onBehalfOf" | "tool" | "taskId" | "reason" | "input"
  > {
  readonly state: "waiting" | "open" | "done" | "failed" | "interrupted" | "refused" | "repeated";
  readonly output: string;
  readonly error: string;
  readonly durationMs: number | null;
  /** Of the last entry that tells of the call, hexadecimal. */
  readonly hash: string;
}

export interface Audit {
  /** The newest first. */
  readonly calls: readonly AuditedCall[];
  /** How many fit the filter; counting stops at {@link totalMax}. */
  readonly total: number;
}

const totalMax = 100_000;

const columns = `call.sequence, call.at, call.executionId, call.callerKind, call.caller, call.onBehalfOf, call.tool,
  call.taskId, call.reason, call.input,
  CASE WHEN call.kind IN ('refusal', 'withdrawn') THEN 'refused' WHEN call.kind = 'asked' THEN 'waiting'
       WHEN call.kind = 'repeats' THEN 'repeated' WHEN outcome.kind = 'interrupted' THEN 'interrupted'
       WHEN outcome.success = 1 THEN 'done'
       WHEN outcome.success = 0 THEN 'failed' ELSE 'open' END AS state,
  coalesce(outcome.output, call.output) AS output, coalesce(outcome.error, call.error) AS error, coalesce(outcome.durationMs, call.durationMs) AS durationMs,
  lower(hex(coalesce(outcome.hash, call.hash))) AS hash`;

const outcome = `LEFT JOIN entry AS outcome
  ON call.kind = 'intent' AND outcome.executionId = call.executionId AND outcome.kind IN ('outcome', 'interrupted')`;

/** A call that was asked for and decided is told by its decision. */
const undecided = `AND (call.kind <> 'asked' OR NOT EXISTS (
  SELECT 1 FROM entry AS decision WHERE decision.executionId = call.executionId AND decision.kind <> 'asked'))`;

/** Finds calls in the ledger. One statement for each set of filters, so that each has its index. */
export function auditQuery(database: Sqlite): (filter: AuditFilter) => Audit {
  return (filter) => {
    const where = [
      "WHERE call.kind IN ('asked', 'intent', 'refusal', 'withdrawn', 'repeats') AND call.at >= @since",
      undecided,
      ...(filter.caller === "" ? [] : ["AND call.caller = @caller"]),
      ...(filter.tool === "" ? [] : ["AND call.tool = @tool"]),
      ...(filter.executionId === undefined ? [] : ["AND call.executionId = @executionId"]),
    ].join(" ");
    const count = database.prepare<[AuditFilter], { total: number }>(
      `SELECT count(*) AS total FROM (SELECT 1 FROM entry AS call ${where} LIMIT ${totalMax})`,
    );
    const calls = database.prepare<[AuditFilter], AuditedCall>(
      `SELECT ${columns} FROM entry AS call ${outcome} ${where} ORDER BY call.sequence DESC LIMIT @limit`,
    );
    return { calls: calls.all(filter), total: count.get(filter)?.total ?? 0 };
  };
}
