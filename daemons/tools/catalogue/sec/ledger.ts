import * as Type from "typebox";
import type { Ledger } from "../../ledger/ledger.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { object } from "../shared/words.ts";

export interface LedgerWorld {
  readonly ledger: Ledger;
}

/** sec.verify_ledger, sec.acknowledge_ledger and sec.export_ledger. */
export const ledgerTools = (world: LedgerWorld): readonly Tool[] => [
  verifyTool(world),
  acknowledgeTool(world),
  exportTool(world),
];

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
