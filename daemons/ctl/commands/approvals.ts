import { AiosError } from "#lib/errors";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";
import { moment } from "../words.ts";
import { callTool } from "./tools.ts";

/** An approved call may take as long as the slowest tool. */
const approveTimeoutMs = 660_000;

/** A call that waits, as sec.approvals tells it. */
interface Ticket {
  readonly id: string;
  readonly task_id: string;
  readonly agent_id: string;
  readonly tool: string;
  readonly risk: string;
  /** The least role of who may approve it. */
  readonly role: string;
  readonly reason: string;
  /** JSON, its secrets taken out. */
  readonly input: string;
  readonly preview: string;
  readonly undo: string;
  /** The digest of what is shown and of the exact input, hexadecimal. */
  readonly digest: string;
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
    const one = await ticketOf(context, args[0] ?? "");
    for (const line of ticketLines(one)) out.line(line);
    out.note(`aiosctl approvals approve ${one.id} --digest ${one.digest} lets it through`);
    out.document(one);
    return exit.ok;
  },
};

/** The calls that wait, the oldest first. */
export async function ticketsOf(context: Context, timeoutMs?: number): Promise<readonly Ticket[]> {
  return ((await callTool(context, "sec.approvals", {}, undefined, timeoutMs)) as { waiting: readonly Ticket[] })
    .waiting;
}

/** A call that waits. Throws NOT_FOUND when it waits no more. */
export async function ticketOf(context: Context, id: string): Promise<Ticket> {
  const one = (await ticketsOf(context)).find((ticket) => ticket.id === id);
  if (one !== undefined) return one;
  throw new AiosError("NOT_FOUND", {
    act: "show",
    object: id,
    reason: "no such call waits: it was decided already, or its time is over",
    next: 'see "aiosctl approvals"',
  });
}

/** All that a person needs to decide. */
export function ticketLines(one: Ticket): string[] {
  return [
    `${one.agent_id} asks for ${one.tool}, ${one.risk} risk${one.role === "admin" ? ", which an admin lets through" : ""}, until ${moment(one.expires_at)} UTC`,
    `why    ${one.reason || "no reason given"}`,
    `undo   ${one.undo}`,
    `input  ${one.input}`,
    "",
    ...one.preview.split("\n"),
  ];
}

interface Done {
  readonly success: boolean;
  readonly error: string;
  readonly output: string;
}

/** Lets through what was shown, and nothing else. */
export const approve = (context: Context, { id, digest }: Pick<Ticket, "id" | "digest">) =>
  callTool(context, "sec.approve", { id, digest }, undefined, approveTimeoutMs) as Promise<Done>;

export const deny = (context: Context, id: string, reason: string) =>
  callTool(context, "sec.deny", { id, ...(reason !== "" && { reason }) });

export const approvalsApprove: Command = {
  name: "approvals approve",
  summary: "let a call that waits be carried out, once and as it was shown",
  usage: "ID [--digest DIGEST]",
  args: [1, 1],
  options: {
    digest: { type: "string", value: "DIGEST", about: "of what was shown; at a terminal you are shown it and asked" },
  },
  examples: [
    "aiosctl approvals approve 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11",
    "aiosctl approvals approve ID --digest $(aiosctl approvals show ID --json | jq -r .digest)",
  ],
  async run(context) {
    const { out, args } = context;
    const [id = ""] = args;
    const digest = text(context, "digest") ?? (await digestSeen(context, id));
    if (digest === undefined) {
      out.line("it still waits");
      return exit.failed;
    }
    const done = await approve(context, { id, digest });
    out.line(done.success ? `done: ${done.output}` : `failed: ${done.error}`);
    out.document(done);
    return done.success ? exit.ok : exit.failed;
  },
};

/** Shows a call to the person at the terminal; its digest when they want it carried out. */
async function digestSeen(context: Context, id: string): Promise<string | undefined> {
  const { out, ask } = context;
  if (ask === undefined || out.json)
    throw new UsageError(
      `--digest is missing: "aiosctl approvals show ${id}" shows the call and the digest that approves it`,
    );
  const one = await ticketOf(context, id);
  for (const line of ticketLines(one)) out.line(line);
  const answer = (await ask("allow it? [y]es or no: "))?.trim() ?? "";
  return /^y(es)?$/i.test(answer) ? one.digest : undefined;
}

export const approvalsDeny: Command = {
  name: "approvals deny",
  summary: "refuse a call that waits",
  usage: "ID [--reason TEXT]",
  args: [1, 1],
  options: { reason: { type: "string", value: "TEXT", about: "why, for the agent and the ledger" } },
  examples: ['aiosctl approvals deny 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --reason "not this disk"'],
  async run(context) {
    const { out, args } = context;
    const denied = await deny(context, args[0] ?? "", text(context, "reason") ?? "");
    out.line("denied");
    out.document(denied);
    return exit.ok;
  },
};
