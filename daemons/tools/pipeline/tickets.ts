/**
 * A person is asked by a ticket, not by a dialogue. A call that the policy wants confirmed is kept with what it would
 * change, and runs once when it is approved: with the same resolved resources and the same preview, or not at all. It
 * outlives the daemon, and whoever waits for it. Who approves names the digest of what was shown; the waiting call's
 * execution id is taken by no other call, and the ledger has it from its beginning.
 */
import { createHmac, hash, randomBytes } from "node:crypto";
import { AiosError } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import type { Identity } from "#lib/rpc/service";
import type { Policy } from "../access/index.ts";
import type { Admitted, Request } from "./gate.ts";
import { type Preview, previewOf } from "./preview.ts";
import type { Facts } from "./record.ts";

/** A call that waits for a person. Its id is that of the execution it may become. */
export interface Ticket {
  readonly id: string;
  readonly caller: Identity;
  readonly tool: string;
  readonly taskId: string;
  readonly reason: string;
  /** JSON, as it will be carried out; shown only with its secrets taken out. */
  readonly input: string;
  readonly risk: string;
  /** The least role of a person who may let it through. */
  readonly role: Role;
  /** The capabilities it needs, resources resolved. */
  readonly needs: readonly string[];
  readonly preview: Preview;
  /** Of caller, tool, input, needs and preview, hexadecimal: what a person approves by naming it. */
  readonly digest: string;
  /** Goes into the digest, and is shown to nobody: secrets in the input cannot be guessed by it. Hexadecimal. */
  readonly salt: string;
  /** Milliseconds since the epoch. */
  readonly askedAt: number;
  readonly expiresAt: number;
  readonly state: "pending" | "approved";
}

/** The ticket of a call, with what the person is shown. */
export async function ticketOf(call: Admitted, facts: Facts, policy: Policy, now: number): Promise<Ticket> {
  const salt = randomBytes(16).toString("hex");
  const preview = await previewOf(call, facts.executionId);
  return {
    id: facts.executionId,
    caller: call.caller,
    tool: call.tool.name,
    taskId: facts.taskId,
    reason: facts.reason,
    input: JSON.stringify(call.input),
    risk: call.risk,
    role: call.role,
    needs: call.needs,
    preview,
    digest: digestOf(call, preview, salt),
    salt,
    askedAt: now,
    expiresAt: now + policy.approval.timeoutMs,
    state: "pending",
  };
}

/** Digest of what a person is shown of a call, and of its exact input. */
export function digestOf(
  { caller, tool, input, needs, role }: Admitted,
  { change, undo }: Preview,
  salt: string,
): string {
  const shown = [caller.kind, caller.name, tool.name, input, needs, role, change, undo];
  return createHmac("sha256", salt).update(JSON.stringify(shown)).digest("hex");
}

/** The facts of the call once it is carried out. */
export function factsOf({ id, caller, tool, taskId, reason, input }: Ticket, { redaction }: Policy): Facts {
  return { executionId: id, caller, agentId: "", tool, taskId, reason, input, redaction };
}

/** The key of a call: two calls that share it are the same one. */
export const sameCall = ({ caller, tool, taskId, input }: Ticket): string =>
  hash("sha256", JSON.stringify([caller.kind, caller.name, tool, taskId, input]));

/** Refuses a request that has a ticket's id and is another call. */
export function checkSame({ id, tool, taskId, input }: Ticket, request: Request): void {
  if (request.tool === tool && request.taskId === taskId && inputOf(request) === input) return;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "execute",
    object: `execution id ${id}`,
    reason: `a call of ${tool} with this id waits for a person, and this is another call`,
    next: "send the same call again, or choose another id",
  });
}

/** Whether two requests are the same call. */
export const sameRequest = (one: Request, other: Request): boolean =>
  one.tool === other.tool && one.taskId === other.taskId && inputOf(one) === inputOf(other);

/** An input as tickets have it, however it was spelled. */
function inputOf({ inputJson }: Request): string {
  const text = Buffer.from(inputJson).toString("utf8");
  try {
    return JSON.stringify(JSON.parse(text || "{}"));
  } catch {
    return text;
  }
}
