import { open } from "node:fs/promises";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";
import { verifyTimeoutMs } from "./audit.ts";
import { callTool } from "./tools.ts";

export const auditVerify: Command = {
  name: "audit verify",
  summary: "check every entry of the ledger against its hash chain and signed head",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl audit verify", "aiosctl audit verify --json | jq .problems"],
  async run(context) {
    const { out } = context;
    const answer = await callTool(
      context,
      "sec.verify_ledger",
      { full: true },
      "aiosctl audit verify",
      verifyTimeoutMs,
    );
    const { valid, entries, head, problems, acknowledged } = answer as {
      valid: boolean;
      entries: number;
      head: string;
      problems: readonly string[];
      acknowledged: readonly string[];
    };
    out.line(`${valid ? "right" : "NOT RIGHT"}: ${entries} entries, head ${head}`);
    for (const problem of problems) out.line(`  ${problem}`);
    for (const problem of acknowledged) out.line(`  acknowledged: ${problem}`);
    if (!valid) out.note('what has an innocent cause: aiosctl audit acknowledge --reason "what happened"');
    out.document({ valid, entries, head, problems, acknowledged });
    return valid ? exit.ok : exit.failed;
  },
};

export const auditAcknowledge: Command = {
  name: "audit acknowledge",
  summary: "take note of what is wrong with the ledger, as an entry of it: verification goes on from there",
  usage: "--reason TEXT",
  args: [0, 0],
  options: { reason: { type: "string", value: "TEXT", about: "what happened" } },
  examples: ['aiosctl audit acknowledge --reason "the disk was replaced on Monday"'],
  async run(context) {
    const reason = text(context, "reason") ?? "";
    if (reason.trim() === "")
      throw new UsageError('--reason is missing: say what happened, such as "the disk was replaced"');
    const input = { reason };
    const answer = await callTool(
      context,
      "sec.acknowledge_ledger",
      input,
      "aiosctl audit acknowledge",
      verifyTimeoutMs,
    );
    const { problems } = answer as { problems: readonly string[] };
    context.out.line(`acknowledged ${problems.length}:`);
    for (const problem of problems) context.out.line(`  ${problem}`);
    context.out.document({ problems });
    return exit.ok;
  },
};

/** A piece of the ledger, as sec.export_ledger gives it. */
interface Piece {
  readonly public_key: string;
  readonly base: object;
  readonly head: { readonly sequence: number };
  readonly entries: readonly { readonly sequence: number }[];
  readonly next: number;
}

export const auditExport: Command = {
  name: "audit export",
  summary: "copy the whole ledger, as it is chained and signed, to a file: one JSON document a line",
  usage: "--to FILE",
  args: [0, 0],
  options: { to: { type: "string", value: "FILE", about: "a new file; the first line holds key, base and head" } },
  examples: ["aiosctl audit export --to ledger.jsonl"],
  async run(context) {
    const to = text(context, "to");
    if (to === undefined) throw new UsageError("--to is missing: name the file to write");
    const file = await open(to, "wx", 0o600);
    try {
      let piece = await pieceOf(context, { after: 0 });
      const { public_key, base, head } = piece;
      await file.writeFile(`${JSON.stringify({ public_key, base, head })}\n`);
      let entries = 0;
      for (;;) {
        await file.writeFile(piece.entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
        entries += piece.entries.length;
        if (piece.next === 0) break;
        piece = await pieceOf(context, { after: piece.next, until: head.sequence });
      }
      await file.sync();
      context.out.line(`${entries} entries in ${to}`);
      context.out.document({ entries, file: to });
      return exit.ok;
    } finally {
      await file.close();
    }
  },
};

/** The first piece says where the ledger ends: later ones go no further. */
async function pieceOf(context: Context, input: { after: number; until?: number }): Promise<Piece> {
  const piece = (await callTool(context, "sec.export_ledger", input, "aiosctl audit export", verifyTimeoutMs)) as Piece;
  const { sequence } = piece.head;
  return { ...piece, entries: piece.entries.filter((entry) => entry.sequence <= sequence) };
}
