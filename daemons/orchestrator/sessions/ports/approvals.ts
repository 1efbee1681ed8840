import type { EventRecord } from "#kernel/events";
import { momentOf } from "#kernel/events";
import type { ApprovalPort, ApprovalTicket, EventStorePort } from "#kernel/ports";
import type { Clock } from "#lib/clock";
import { uuidOf } from "#lib/ids";
import { beginning } from "#lib/text";

/** Events that are read at once. */
const pageLength = 500;

/**
 * The kernel's approvals, kept nowhere but in the journal: a ticket's id follows from its call and capability, and what waits is
 * what was asked there and not decided. So nothing can be lost between the two, and a restart needs nothing.
 */
export function approvalsIn(
  journal: EventStorePort,
  clock: Clock,
  branchesOf: (session: string) => Promise<readonly string[]>,
): ApprovalPort {
  return {
    enqueue: async (request) => {
      const { session_id, call_id, capability } = request;
      return {
        ...request,
        approval_id: uuidOf(session_id, call_id, capability),
        created_at: momentOf(clock.now()),
      };
    },
    list_pending: async (session) => {
      const branches = await branchesOf(session);
      const found = await Promise.all(
        branches.map(async (branch) => pendingIn(await events(journal, session, branch), branch)),
      );
      return found.flat();
    },
    resolve: async (approval_id, approved, actor) => ({
      approval_id,
      approved,
      actor,
      resolved_at: momentOf(clock.now()),
    }),
  };
}

async function events(journal: EventStorePort, session: string, branch: string): Promise<EventRecord[]> {
  const found: EventRecord[] = [];
  for (;;) {
    const page = await journal.read(session, branch, (found.at(-1)?.sequence ?? 0) + 1, pageLength);
    found.push(...page);
    if (page.length === 0) return found;
  }
}

/** What a branch itself asks; what it has from its parent is asked there. */
function pendingIn(events: readonly EventRecord[], branch: string): ApprovalTicket[] {
  const own = events.filter(({ branch_id }) => branch_id === branch);
  const decided = new Set(own.flatMap(({ kind }) => (kind.type === "ApprovalResolved" ? [kind.approval_id] : [])));
  return own.flatMap(({ kind, session_id, timestamp }) => {
    if (kind.type !== "ApprovalRequested" || decided.has(kind.approval_id)) return [];
    const { approval_id, call_id, tool_name, risk } = kind;
    const capability = capabilityOf(own, approval_id, session_id, call_id);
    const reason = `${risk} risk: ${beginning(JSON.stringify(kind.arguments), 500)}`;
    return [{ approval_id, session_id, call_id, tool_name, capability, reason, created_at: timestamp }];
  });
}

/** Of the capabilities that the gate wants approved for the call, the one that the ticket's id was made of. */
function capabilityOf(events: readonly EventRecord[], approval: string, session: string, call: string): string {
  const gated = events.flatMap(({ kind }) => {
    if (kind.type !== "Custom" || kind.event_type !== "aios.gate_evaluated") return [];
    const note = kind.data as { call_id?: string; decision?: { requires_approval?: readonly string[] } };
    return note.call_id === call ? (note.decision?.requires_approval ?? []) : [];
  });
  return gated.find((capability) => uuidOf(session, call, capability) === approval) ?? "";
}
