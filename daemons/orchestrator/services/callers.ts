import { AiosError } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import type { Identity } from "#lib/rpc/service";
import type { Goal } from "../goal.ts";
import type { Goals } from "../goals/index.ts";

/** The agent that calls; nobody else may. */
export function agentOf(identity: Identity, act: string): string {
  if (identity.kind === "agent") return identity.name;
  throw new AiosError("PERMISSION_DENIED", `${act}: only agents may, on their own sockets`);
}

/** The agent that is meant: an agent itself, and nobody else; others may mean any. */
export function ownAgent(identity: Identity, said: string, act: string): string {
  if (identity.kind !== "agent") return said;
  if (said === "" || said === identity.name) return identity.name;
  throw new AiosError("PERMISSION_DENIED", `${act} ${said}: the caller is agent ${identity.name}`);
}

/** Throws PERMISSION_DENIED for an agent. */
export function refuseAgents(identity: Identity, act: string): void {
  if (identity.kind === "agent") throw refusal(identity, act);
}

/** Says that this caller may not do it. */
export function refusal(identity: Identity, act: string): AiosError {
  return new AiosError("PERMISSION_DENIED", `${act}: not for ${nameOf(identity)}`);
}

/** As others name a caller: "operator:alice", "agent:system", "core". */
export function nameOf({ kind, name }: Identity): string {
  return kind === "core" ? "core" : `${kind}:${name}`;
}

/** The role of a person; empty for daemons and agents. */
export const roleOf = (identity: Identity): Role | "" => (identity.kind === "operator" ? identity.role : "");

/** A goal that the caller may see: an agent sees its own only. */
export async function ownGoal(goals: Goals, id: string, identity: Identity): Promise<Goal> {
  if (id === "") throw new AiosError("INVALID_ARGUMENT", "find goal: id: it is empty");
  const goal = await goals.find(id);
  if (identity.kind === "agent" && goal.source !== nameOf(identity)) throw refusal(identity, `see goal ${id}`);
  return goal;
}
