import { type Command, exit, text } from "../command.ts";
import { moment } from "../words.ts";
import { callTool } from "./tools.ts";

/** What was let through may take as long as the slowest tool. */
const approveTimeoutMs = 660_000;

/** A call that waits, as sec.approvals tells it. */
interface Ticket {
  readonly id: string;
  readonly agent_id: string;
  readonly tool: string;
  readonly risk: string;
  readonly reason: string;
  readonly preview: string;
  readonly undo: string;
  readonly expires_at: number;
}

export const approvalsList: Command = {
  name: "approvals list",
  summary: "the calls of agents that wait for you, and what they would change",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl approvals", "aiosctl approvals --json | jq -r .waiting[].preview"],
  async run(context) {
    const { out } = context;
    const answer = (await callTool(context, "sec.approvals", {})) as { waiting: readonly Ticket[] };
    for (const one of answer.waiting) {
      out.line(`${one.id} ${one.agent_id} ${one.tool}, ${one.risk} risk, until ${moment(one.expires_at)} UTC`);
      out.line(`  ${one.reason || "no reason given"}; ${one.undo}`);
      for (const line of one.preview.split("\n")) out.line(`  ${line}`);
    }
    if (answer.waiting.length === 0) out.line("nothing waits");
    out.document(answer);
    return exit.ok;
  },
};

export const approvalsApprove: Command = {
  name: "approvals approve",
  summary: "let a call that waits be carried out, once and as it was shown",
  usage: "ID",
  args: [1, 1],
  examples: ["aiosctl approvals approve 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  async run(context) {
    const { out, args } = context;
    const input = { id: args[0] ?? "" };
    const done = (await callTool(context, "sec.approve", input, undefined, approveTimeoutMs)) as {
      success: boolean;
      error: string;
      output: string;
    };
    out.line(done.success ? `done: ${done.output}` : `failed: ${done.error}`);
    out.document(done);
    return done.success ? exit.ok : exit.failed;
  },
};

export const approvalsDeny: Command = {
  name: "approvals deny",
  summary: "refuse a call that waits",
  usage: "ID [--reason TEXT]",
  args: [1, 1],
  options: { reason: { type: "string", value: "TEXT", about: "why, for the agent and the ledger" } },
  examples: ['aiosctl approvals deny 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --reason "not this disk"'],
  async run(context) {
    const { out, args } = context;
    const reason = text(context, "reason");
    const denied = await callTool(context, "sec.deny", { id: args[0] ?? "", ...(reason && { reason }) });
    out.line("denied");
    out.document(denied);
    return exit.ok;
  },
};
