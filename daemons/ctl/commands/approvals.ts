import { AiosError } from "#lib/errors";
import { type Command, type Context, exit, text } from "../command.ts";
import { moment } from "../words.ts";
import { callTool } from "./tools.ts";

/** What was let through may take as long as the slowest tool. */
const approveTimeoutMs = 660_000;

/** A call that waits, as sec.approvals tells it. */
export interface Ticket {
  readonly id: string;
  readonly task_id: string;
  readonly agent_id: string;
  readonly tool: string;
  readonly risk: string;
  readonly reason: string;
  /** JSON, its secrets taken out. */
  readonly input: string;
  readonly preview: string;
  readonly undo: string;
  readonly expires_at: number;
}

export const approvalsList: Command = {
  name: "approvals list",
  summary: "the calls of agents that wait for you",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl approvals", "aiosctl approvals list --json | jq -r .waiting[].id"],
  async run(context) {
    const { out } = context;
    const waiting = await ticketsOf(context);
    const rows = waiting.map((one) => [one.id, one.agent_id, one.tool, one.risk, moment(one.expires_at), one.reason]);
    if (rows.length === 0) out.line("nothing waits");
    else out.table(["id", "agent", "tool", "risk", "until (UTC)", "why"], rows);
    out.document({ waiting });
    return exit.ok;
  },
};

export const approvalsShow: Command = {
  name: "approvals show",
  summary: "one call that waits: what it would change, and how that is taken back",
  usage: "ID",
  args: [1, 1],
  examples: [
    "aiosctl approvals show 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11",
    "aiosctl approvals show 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --json | jq -r .preview",
  ],
  async run(context) {
    const { out, args } = context;
    const one = (await ticketsOf(context)).find(({ id }) => id === args[0]);
    if (one === undefined) {
      throw new AiosError("NOT_FOUND", {
        act: "show",
        object: args[0] ?? "",
        reason: "no such call waits: it was decided already, or its time is over",
        next: 'see "aiosctl approvals"',
      });
    }
    out.line(`${one.agent_id} asks for ${one.tool}, ${one.risk} risk, until ${moment(one.expires_at)} UTC`);
    out.line(`why    ${one.reason || "no reason given"}`);
    out.line(`undo   ${one.undo}`);
    out.line(`input  ${one.input}`);
    out.line();
    out.line(one.preview);
    out.document(one);
    return exit.ok;
  },
};

/** The calls that wait, the oldest first. */
export async function ticketsOf(context: Context): Promise<readonly Ticket[]> {
  return ((await callTool(context, "sec.approvals", {})) as { waiting: readonly Ticket[] }).waiting;
}

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
