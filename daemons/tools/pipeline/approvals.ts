/**
 * What cannot be taken back is asked about. A permanent deletion, a push, a program in a container and a request of a
 * method that changes something wait for a person when an agent makes them, at every level, in a plan of a person's
 * goal too; preview and result say that it is for good. A person's own direct call is made at once: it is the decision.
 * Ending a process or restarting a service asks by its risk only: agents mend machines by it.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { allows } from "#lib/identity/role";
import type { Log } from "#lib/log";
import type { Identity, Person } from "#lib/rpc/service";
import { kindsOf, type Policies, type Policy } from "../access/index.ts";
import type { Ledger } from "../ledger/index.ts";
import { type Documents, openDocuments, type State } from "../state/index.ts";
import type { Admitted } from "./gate.ts";
import { asked, type Executed, type Facts, refusal, withdrawal, withdrawalError } from "./record.ts";
import { factsOf, sameCall, type Ticket, ticketOf } from "./tickets.ts";
import { openWaiting, refused, type Waiting } from "./waiting.ts";

/** Tickets of all agents together, at most: more agents than there are names for. */
const ticketsMax = 1_000;

export interface Approvals {
  /**
   * Waits until a person has decided, and for what comes of the call. Throws PERMISSION_DENIED when it is denied or nobody
   * answers in time, RESOURCE_EXHAUSTED when too many of the agent's calls wait already, FAILED_PRECONDITION when what it
   * names has changed meanwhile. A caller that goes away leaves the ticket; the same call made again waits for the same one.
   * `waits` is called with the ticket's id once ticket and ledger entry are on disk.
   */
  ask(call: Admitted, facts: Facts, policy: Policy, signal: AbortSignal, waits?: Waits): Promise<Executed>;
  /** The ticket of an execution, from the moment it is asked until what was approved has ended; undefined when it has none. */
  find(id: string): Ticket | undefined;
  /** Waits as {@link ask} does, for a ticket that is there. Throws NOT_FOUND when it is not. */
  join(id: string, signal: AbortSignal, waits?: Waits): Promise<Executed>;
  /** Ends the wait for a call that its caller wants no more; who waits is told ABORTED. Throws FAILED_PRECONDITION when it was approved already. */
  withdraw(id: string): Promise<void>;
  /** Those that wait, the oldest first. */
  pending(): readonly Ticket[];
  /**
   * Lets a call through, once, and waits for what comes of it. `digest` is the one that was shown. Throws NOT_FOUND when no such
   * ticket waits, FAILED_PRECONDITION when it is another call than the one that was shown, PERMISSION_DENIED when it takes
   * another role than `by` has, RESOURCE_EXHAUSTED while the disk is too full for it.
   */
  approve(id: string, digest: string, by: Person): Promise<Executed>;
  /** Refuses a call. Throws NOT_FOUND when no such ticket waits. */
  deny(id: string, by: Identity, why: string): Promise<Ticket>;
  /** Takes up what the last run of the daemon left waiting. */
  resume(): Promise<void>;
  close(): void;
}

type Waits = (ticket: string) => void;

interface ApprovalParts {
  readonly state: State;
  readonly ledger: Ledger;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly log: Log;
  /** Throws RESOURCE_EXHAUSTED while the disk is too full for a call: it goes on waiting. */
  takes(ticket: Ticket): void;
  /** Passes the gate again with what was asked, and carries it out. */
  run(ticket: Ticket, facts: Facts): Promise<Executed>;
}

/**
 * Whether a person is asked first: whoever changes a protected place; calls of agents whose tool wants it, changes whose risk
 * the policy names, and where the grant asks for it all, all that changes something or leaves the machine, or what amounts to root.
 */
export function needsApproval({ tool, caller, asks, places, risk }: Admitted, policy: Policy): boolean {
  if (places.length > 0) return true;
  if (caller.kind !== "agent") return false;
  if (asks === "everything") return true;
  if (asks === "changes" && kindsOf(tool).some((kind) => kind !== "calls")) return true;
  if (asks === "root" && risk === "critical") return true;
  return tool.confirmation || (tool.effect === "change" && policy.approval.risks.includes(risk));
}

export function openApprovals(parts: ApprovalParts): Approvals {
  const { state, ledger, log } = parts;
  const documents: Documents<Ticket> = openDocuments(state, "approval");
  const waiting = openWaiting(parts, documents);
  const join = ({ ticket, decided }: Waiting, signal: AbortSignal, waits: Waits) => {
    waits(ticket.id);
    return untilAborted(decided.promise, signal);
  };

  return {
    ask: async (call, facts, policy, signal, waits = () => {}) => {
      const ticket = await askable(parts, call, facts, policy);
      const others = waiting.all();
      const same = others.find((other) => sameCall(other.ticket) === sameCall(ticket));
      if (same !== undefined) {
        // Asked by its own id later, this execution is what became of the other.
        await ledger.append(asked(factsOf(ticket, policy), { same_as: same.ticket.id }));
        return join(same, signal, waits);
      }
      const own = others.filter((other) => samePeer(other.ticket.caller, ticket.caller));
      if (own.length >= policy.approval.pendingPerAgentMax || others.length >= ticketsMax) throw full(ticket, own);
      const one = waiting.add(ticket, "being written");
      try {
        await documents.put(ticket.id, ticket);
        await ledger.append(asked(factsOf(ticket, policy), entryOf(ticket)));
      } catch (error) {
        waiting.remove(ticket.id);
        await documents.remove(ticket.id).catch(() => {});
        throw error;
      }
      waiting.show(one);
      log.info("a call waits for a person", { id: ticket.id, caller: ticket.caller.name, tool: ticket.tool });
      return join(one, signal, waits);
    },
    find: (id) => waiting.find(id)?.ticket,
    join: async (id, signal, waits = () => {}) => join(waiting.known(id), signal, waits),
    withdraw: async (id) => {
      if (waiting.known(id).state !== "waiting")
        throw new AiosError("FAILED_PRECONDITION", `withdraw ${id}: it is running`);
      await waiting.refuse(waiting.take(id), withdrawalError(id), withdrawal);
    },
    pending: () =>
      waiting
        .all()
        .filter((one) => one.state === "waiting")
        .map(({ ticket }) => ticket),
    approve: async (id, digest, by) => {
      const shown = waiting.find(id);
      if (shown?.state === "waiting" && shown.ticket.digest !== digest) throw notShown(id);
      if (shown !== undefined && !allows(by.role, shown.ticket.role)) throw beyond(shown.ticket, by);
      if (shown?.state === "waiting") parts.takes(shown.ticket);
      const { ticket, decided } = waiting.take(id);
      try {
        // Durable before it begins: what was approved once is not approved again.
        await documents.put(id, { ...ticket, state: "approved" });
        const done = await parts.run(ticket, factsOf(ticket, await parts.policies.current()));
        decided.resolve(done);
        return done;
      } catch (error) {
        decided.reject(error);
        throw error;
      } finally {
        await documents.remove(id).finally(() => waiting.remove(id));
      }
    },
    deny: async (id, by, why) => {
      const one = waiting.take(id);
      await waiting.refuse(one, refused(one.ticket, `${by.name} denied it${why === "" ? "" : `: ${why}`}`));
      return one.ticket;
    },
    resume: async () => {
      for (const ticket of documents.list(ticketsMax).reverse()) {
        if (ticket.state === "pending")
          await resumed(parts, ticket).then(() => waiting.show(waiting.add(ticket, "waiting")));
        else await lapse(parts, documents, ticket);
      }
    },
    close: () => {
      for (const { over } of waiting.all()) over.abort();
    },
  };
}

/** The ticket of a call that can be done as far as it shows; else nobody is asked, and a denial is written down. */
async function askable(
  { ledger, clock }: ApprovalParts,
  call: Admitted,
  facts: Facts,
  policy: Policy,
): Promise<Ticket> {
  try {
    return await ticketOf(call, facts, policy, clock.now());
  } catch (error) {
    if (error instanceof AiosError && error.code === "PERMISSION_DENIED") {
      await ledger.append(refusal(facts, error.message));
    }
    throw error;
  }
}

/** The ledger's part of what a person is shown. */
const entryOf = ({ digest, risk, needs, expiresAt }: Ticket) => ({ digest, risk, needs, expires_at: expiresAt });

/** A ticket whose entry the last run of the daemon did not come to write has it now. */
async function resumed({ ledger, policies }: ApprovalParts, ticket: Ticket): Promise<void> {
  if (ledger.ofExecution(ticket.id).length > 0) return;
  await ledger.append(asked(factsOf(ticket, policies.last()), entryOf(ticket)));
}

/** A call that was approved when the daemon ended: it began, and its intent tells what became of it, or it does not begin any more. */
async function lapse({ ledger, policies }: ApprovalParts, documents: Documents<Ticket>, ticket: Ticket): Promise<void> {
  if (ledger.ofExecution(ticket.id).every(({ kind }) => kind === "asked")) {
    const error = refused(ticket, "the daemon ended before it began");
    await ledger.append(refusal(factsOf(ticket, policies.last()), error.message));
  }
  await documents.remove(ticket.id);
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

const samePeer = (one: Identity, other: Identity) => one.kind === other.kind && one.name === other.name;

function beyond({ id, tool, role, risk }: Ticket, by: Person): AiosError {
  return new AiosError("PERMISSION_DENIED", {
    act: "approve",
    object: id,
    reason: `this call of ${tool} is of ${risk} risk and needs the role ${role}, and ${by.name} is ${by.role}`,
    next: "ask an admin, or deny it",
  });
}

function notShown(id: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "approve",
    object: id,
    reason: "the digest is not that of the call that waits",
    next: `look at the call (aiosctl approvals show ${id}) and approve what it shows`,
  });
}

function full({ tool, caller }: Ticket, own: readonly Waiting[]): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "execute",
    object: tool,
    reason: `${own.length} calls of ${caller.name} wait for a person already`,
    next: "wait until they are decided",
  });
}
