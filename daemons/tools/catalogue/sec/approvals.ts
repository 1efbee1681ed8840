import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import type { Identity, Person } from "#lib/rpc/service";
import type { Policies, Policy } from "../../access/index.ts";
import type { Approvals, Ticket } from "../../pipeline/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { visible } from "../../visible.ts";
import { object, timestamp } from "../shared/index.ts";

/** A call that was let through may take as long as the slowest tool. */
const approveTimeoutMs = 660_000;

const ticketId = Type.String({ pattern: "^[0-9a-f-]{36}$", description: "the id of a call that waits" });

const ticket = object({
  id: Type.String({ description: "also the execution's id, once it is approved" }),
  agent_id: Type.String({ description: "who asks: an agent, or a person" }),
  tool: Type.String(),
  task_id: Type.String(),
  reason: Type.String(),
  risk: Type.String(),
  role: Type.String({ description: "the least role of who may approve it" }),
  input: Type.String({ description: "JSON, without its secrets" }),
  capabilities: Type.Array(Type.String()),
  preview: Type.String({ description: "what would change; for files a diff" }),
  undo: Type.String({ description: "how it would be taken back" }),
  digest: Type.String({ description: "of all this and of the exact input: who approves names it" }),
  asked_at: timestamp,
  expires_at: timestamp,
});

export interface ApprovalWorld {
  readonly approvals: Approvals;
  readonly policies: Policies;
}

/** sec.approvals, sec.approve and sec.deny: for the people who are asked. */
export function approvalTools(world: ApprovalWorld): readonly Tool[] {
  return [approvalsTool(world), approveTool(world), denyTool(world)];
}

const approvalsTool = ({ approvals, policies }: ApprovalWorld) =>
  reads({
    name: "sec.approvals",
    summary: "Lists the calls that wait for a person, with what they would change, the oldest first.",
    input: object({}),
    output: object({ waiting: Type.Array(ticket) }),
    capabilities: ["sec:approve"],
    callers: ["core", "operator"],
    timeoutMs: 5_000,
    run: async () => {
      const policy = await policies.current();
      return { waiting: approvals.pending().map((one) => shown(one, policy)) };
    },
  });

const approveTool = ({ approvals }: ApprovalWorld) =>
  changes({
    name: "sec.approve",
    summary: "Approves a pending call: it is carried out once, exactly as it was shown; tells what came of it.",
    input: object({
      id: ticketId,
      digest: Type.String({ pattern: "^[0-9a-f]{64}$", description: "the digest that sec.approvals showed with it" }),
    }),
    output: object({
      execution_id: Type.String(),
      success: Type.Boolean(),
      error: Type.String(),
      output: Type.String({ description: "JSON; empty when it failed" }),
    }),
    capabilities: ["sec:approve"],
    whenFull: "as ever",
    callers: ["operator"],
    irreversible: "what it lets through has an undo of its own",
    risk: "critical",
    // Who lets through what is told by each call that waits.
    role: "operator",
    timeoutMs: approveTimeoutMs,
    idempotent: false,
    run: async ({ input, caller }) => {
      const { executionId, success, error, output } = await approvals.approve(input.id, input.digest, personOf(caller));
      return { execution_id: executionId, success, error, output };
    },
  });

const denyTool = ({ approvals }: ApprovalWorld) =>
  changes({
    name: "sec.deny",
    summary: "Refuses a call that waits.",
    input: object({
      id: ticketId,
      reason: Type.Optional(Type.String({ maxLength: 500, description: "why, for the agent and the ledger" })),
    }),
    output: object({ denied: Type.Boolean() }),
    capabilities: ["sec:approve"],
    whenFull: "as ever",
    callers: ["operator"],
    irreversible: "the agent has been told; it can ask again",
    risk: "low",
    timeoutMs: 30_000,
    idempotent: false,
    run: async ({ input, caller }) => {
      await approvals.deny(input.id, caller, input.reason ?? "");
      return { denied: true };
    },
  });

/** Only operators may call it: see `callers`. */
function personOf(caller: Identity): Person {
  if (caller.kind === "operator") return caller;
  throw new AiosError("PERMISSION_DENIED", `approve: ${caller.name} is no person`);
}

function shown(one: Ticket, { redaction }: Policy) {
  return {
    id: one.id,
    agent_id: one.caller.name,
    tool: one.tool,
    task_id: visible(one.taskId),
    reason: visible(redaction.text(one.reason)),
    risk: one.risk,
    role: one.role,
    input: visible(redaction.json(one.input)),
    capabilities: one.needs.map(visible),
    preview: redaction.text(one.preview.change),
    undo: one.preview.undo,
    digest: one.digest,
    asked_at: one.askedAt,
    expires_at: one.expiresAt,
  };
}
