import * as Type from "typebox";
import type { Ledger } from "../../ledger/index.ts";
import type { Undos } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { object, timestamp } from "../shared/index.ts";

/** Calls that sec.audit tells unless asked for another number, and at most. */
const auditDefault = 100;
const auditMax = 500;

/** JSON of calls in one answer, characters: as many calls as fit are told. */
const auditLengthMax = 2_000_000;

export interface LedgerWorld {
  readonly ledger: Ledger;
  readonly undos: Pick<Undos, "find">;
}

export const ledgerTools = (world: LedgerWorld): readonly Tool[] => [
  auditTool(world),
  verifyTool(world),
  acknowledgeTool(world),
  exportTool(world),
];

const auditTool = ({ ledger, undos }: LedgerWorld) =>
  reads({
    name: "sec.audit",
    summary: "Lists calls from the ledger, the newest first, by agent (or other caller), tool, execution and time.",
    input: object({
      agent_id: Type.Optional(Type.String({ maxLength: 64, description: "the caller's name" })),
      tool_name: Type.Optional(Type.String({ maxLength: 128 })),
      execution_id: Type.Optional(Type.String({ pattern: "^[0-9a-f-]{36}$" })),
      since: Type.Optional(timestamp),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: auditMax })),
    }),
    output: object({
      entries: Type.Array(
        object({
          sequence: Type.Integer(),
          at: timestamp,
          execution_id: Type.String(),
          caller_kind: Type.String(),
          caller: Type.String(),
          on_behalf_of: Type.String(),
          tool: Type.String(),
          task_id: Type.String(),
          reason: Type.String(),
          state: Type.Enum(["waiting", "open", "done", "failed", "interrupted", "refused", "repeated"], {
            description:
              "interrupted: the daemon ended before it was known what came of it; repeated: calls that were the same as the one of this execution; the output says how many",
          }),
          input: Type.String({ description: "JSON; when long, its hash and beginning" }),
          output: Type.String({ description: "JSON; when long, its hash and beginning" }),
          error: Type.String(),
          duration_ms: Type.Union([Type.Integer(), Type.Null()]),
          reversible: Type.Boolean({ description: "what it changed can be taken back now" }),
          hash: Type.String({ description: "SHA-256 of the last entry that tells of it, hexadecimal" }),
        }),
      ),
      total: Type.Integer({ description: "calls that fit, also those not listed" }),
    }),
    capabilities: ["sec:read"],
    timeoutMs: 30_000,
    run: ({ input }) => {
      const { agent_id: caller = "", tool_name: tool = "", since = 0, limit = auditDefault } = input;
      const executionId = input.execution_id;
      const filter = { caller, tool, since, limit, ...(executionId !== undefined && { executionId }) };
      const { calls, total } = ledger.audit(filter);
      let length = 0;
      const entries = calls
        .map(({ executionId, callerKind, onBehalfOf, taskId, durationMs, ...call }) => ({
          ...call,
          execution_id: executionId,
          caller_kind: callerKind,
          on_behalf_of: onBehalfOf,
          task_id: taskId,
          duration_ms: durationMs,
          reversible: undos.find(executionId)?.state === "ready",
        }))
        .filter((entry) => {
          length += JSON.stringify(entry).length;
          return length <= auditLengthMax;
        });
      return { entries, total };
    },
  });

const verifyTool = ({ ledger }: LedgerWorld) =>
  reads({
    name: "sec.verify_ledger",
    summary: "Follows the ledger's hash chain to its signed head and says what was edited, deleted, moved or cut off.",
    input: object({
      full: Type.Optional(Type.Boolean({ description: "read also the days that were found right before" })),
    }),
    output: object({
      valid: Type.Boolean(),
      entries: Type.Integer(),
      remembered: Type.Integer({ description: "of these, not read again" }),
      head: Type.String({ description: "hash of the signed head, hexadecimal" }),
      problems: Type.Array(Type.String()),
      acknowledged: Type.Array(Type.String(), { description: "what else is wrong, and an admin has taken note of" }),
    }),
    capabilities: ["sec:read"],
    timeoutMs: 300_000,
    run: async ({ signal, input }) => {
      const { valid, entries, remembered, head, problems, acknowledged } = await ledger.verify(signal, input.full);
      const wrong = { problems: [...problems], acknowledged: [...acknowledged] };
      return { valid, entries, remembered, head: head.hash, ...wrong };
    },
  });

const acknowledgeTool = ({ ledger }: LedgerWorld) =>
  changes({
    name: "sec.acknowledge_ledger",
    summary:
      "Writes down that an admin has taken note of what is wrong with the ledger: verification goes on from there.",
    input: object({
      reason: Type.String({ minLength: 1, maxLength: 1024, description: "what happened, for the ledger" }),
    }),
    output: object({ problems: Type.Array(Type.String(), { description: "what was acknowledged" }) }),
    capabilities: ["sec:acknowledge"],
    callers: ["operator"],
    irreversible: "an entry of the ledger stays",
    risk: "critical",
    timeoutMs: 300_000,
    idempotent: false,
    run: async ({ caller, input, signal }) => ({
      problems: [...(await ledger.acknowledge(caller, input.reason, signal))],
    }),
  });

const hexadecimal = Type.String({ description: "hexadecimal" });

const exportTool = ({ ledger }: LedgerWorld) =>
  reads({
    name: "sec.export_ledger",
    summary: "Gives the ledger's entries as they are chained, in pieces, with the signed head: for a copy elsewhere.",
    input: object({
      after: Type.Integer({
        minimum: 0,
        description: "the sequence that the piece begins behind; 0 for the first one",
      }),
      until: Type.Optional(Type.Integer({ minimum: 0, description: "the last sequence that is wanted" })),
    }),
    output: object({
      public_key: Type.String({ description: "PEM, of the key that signs now" }),
      base: object({ sequence: Type.Integer(), hash: hexadecimal }),
      head: object({ sequence: Type.Integer(), hash: hexadecimal, signature: hexadecimal }),
      entries: Type.Array(Type.Record(Type.String(), Type.Unknown())),
      next: Type.Integer({ description: "asks for the next piece; 0 when there is none" }),
    }),
    capabilities: ["sec:read"],
    callers: ["core", "operator"],
    timeoutMs: 30_000,
    run: ({ input }) => {
      const { publicKey, base, head, entries, next } = ledger.export(
        input.after,
        input.until ?? Number.MAX_SAFE_INTEGER,
      );
      return { public_key: publicKey, base, head, entries: [...entries], next };
    },
  });
