import { hash } from "node:crypto";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Identity } from "#lib/service";
import { type Documents, openDocuments } from "./documents.ts";
import type { Executed } from "./execute.ts";
import type { Admitted } from "./gate.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { kindsOf } from "./policy/limits.ts";
import type { Policies, Policy } from "./policy/policy.ts";
import { type Preview, previewOf } from "./preview.ts";
import { type Facts, refusal } from "./record.ts";
import type { State } from "./state.ts";

/** Tickets of all agents together, at most: more agents than there are names for. */
const ticketsMax = 1_000;

/** A call that waits for a person. Its id is that of the execution it may become. */
export interface Ticket {
  readonly id: string;
  readonly agent: string;
  readonly tool: string;
  readonly taskId: string;
  readonly reason: string;
  /** JSON, as it will be carried out; shown only with its secrets taken out. */
  readonly input: string;
  readonly risk: string;
  /** The capabilities it needs, resources resolved. */
  readonly needs: readonly string[];
  readonly preview: Preview;
  /** Milliseconds since the epoch. */
  readonly askedAt: number;
  readonly expiresAt: number;
  readonly state: "pending" | "approved";
}

export interface Approvals {
  /**
   * Waits until a person has decided, and for what comes of the call. Throws PERMISSION_DENIED when it is denied or nobody
   * answers in time, RESOURCE_EXHAUSTED when too many of the agent's calls wait already, FAILED_PRECONDITION when what it
   * names has changed meanwhile. A caller that goes away leaves the ticket; the same call made again waits for the same one.
   * `waits` is called with the ticket's id once it is on disk.
   */
  ask(
    call: Admitted,
    facts: Facts,
    policy: Policy,
    signal: AbortSignal,
    waits?: (ticket: string) => void,
  ): Promise<Executed>;
  /** Those that wait, the oldest first. */
  pending(): readonly Ticket[];
  /** Lets a call through, once, and waits for what comes of it. Throws NOT_FOUND when no such ticket waits. */
  approve(id: string): Promise<Executed>;
  /** Refuses a call. Throws NOT_FOUND when no such ticket waits. */
  deny(id: string, by: Identity, why: string): Promise<Ticket>;
  /** Takes up what the last run of the daemon left waiting. */
  resume(): Promise<void>;
  close(): void;
}

export interface ApprovalParts {
  readonly state: State;
  readonly ledger: Ledger;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly log: Log;
  /** Passes the gate again with what was asked, and carries it out. */
  run(ticket: Ticket, facts: Facts): Promise<Executed>;
}

interface Waiting {
  readonly ticket: Ticket;
  readonly decided: PromiseWithResolvers<Executed>;
  readonly over: AbortController;
}

/**
 * Whether a person is asked first: calls of agents whose tool wants it, changes whose risk the policy names, and where the
 * grant asks for it all that changes something or leaves the machine.
 */
export function needsApproval({ tool, caller, asks }: Admitted, policy: Policy): boolean {
  if (caller.kind !== "agent") return false;
  if (asks && kindsOf(tool).some((kind) => kind !== "calls")) return true;
  return tool.confirmation || (tool.effect === "change" && policy.approval.risks.includes(tool.risk));
}

export function openApprovals(parts: ApprovalParts): Approvals {
  const { state, clock, log } = parts;
  const documents: Documents<Ticket> = openDocuments(state, "approval");
  const waiting = new Map<string, Waiting>();

  /** Takes a ticket out of those that wait: whoever does it decides, and nobody after. */
  const take = (id: string): Waiting => {
    const found = waiting.get(id);
    if (found === undefined) throw noSuch(id);
    waiting.delete(id);
    found.over.abort();
    return found;
  };
  const refuse = async ({ ticket, decided }: Waiting, why: string) => {
    const error = refused(ticket, why);
    await parts.ledger.append(refusal(factsOf(ticket, parts.policies.last()), error.message));
    await documents.remove(ticket.id);
    decided.reject(error);
  };
  const wait = (ticket: Ticket): Waiting => {
    const one = { ticket, decided: Promise.withResolvers<Executed>(), over: new AbortController() };
    // Nobody may be waiting for it, after a restart.
    one.decided.promise.catch(() => {});
    waiting.set(ticket.id, one);
    const leftMs = Math.max(0, Math.min(ticket.expiresAt - clock.now(), ticket.expiresAt - ticket.askedAt));
    clock.sleep(leftMs, one.over.signal).then(
      () => refuse(take(ticket.id), "nobody answered in time").catch((error) => log.error("refuse a call", { error })),
      () => {},
    );
    return one;
  };

  return {
    ask: async (call, facts, policy, signal, waits = () => {}) => {
      const ticket = await ticketOf(call, facts, policy, clock.now());
      const same = [...waiting.values()].find((other) => keyOf(other.ticket) === keyOf(ticket));
      if (same !== undefined) {
        waits(same.ticket.id);
        return untilAborted(same.decided.promise, signal);
      }
      const own = [...waiting.values()].filter((other) => other.ticket.agent === ticket.agent);
      if (own.length >= policy.approval.pendingPerAgentMax || waiting.size >= ticketsMax) throw full(ticket, own);
      const one = wait(ticket);
      try {
        await documents.put(ticket.id, ticket);
      } catch (error) {
        take(ticket.id);
        throw error;
      }
      log.info("a call waits for a person", { id: ticket.id, agent: ticket.agent, tool: ticket.tool });
      waits(ticket.id);
      return untilAborted(one.decided.promise, signal);
    },
    pending: () => [...waiting.values()].map(({ ticket }) => ticket),
    approve: async (id) => {
      const { ticket, decided } = take(id);
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
        await documents.remove(id);
      }
    },
    deny: async (id, by, why) => {
      const one = take(id);
      await refuse(one, `${by.name} denied it${why === "" ? "" : `: ${why}`}`);
      return one.ticket;
    },
    resume: async () => {
      for (const ticket of documents.list(ticketsMax).reverse()) {
        if (ticket.state === "pending") wait(ticket);
        else await lapse(parts, documents, ticket);
      }
    },
    close: () => {
      for (const { over } of waiting.values()) over.abort();
    },
  };
}

/** A call that was approved when the daemon ended: it began, and its intent tells what became of it, or it does not begin any more. */
async function lapse({ ledger, policies }: ApprovalParts, documents: Documents<Ticket>, ticket: Ticket): Promise<void> {
  if (ledger.ofExecution(ticket.id).length === 0) {
    const error = refused(ticket, "the daemon ended before it began");
    await ledger.append(refusal(factsOf(ticket, policies.last()), error.message));
  }
  await documents.remove(ticket.id);
}

async function ticketOf(call: Admitted, facts: Facts, policy: Policy, now: number): Promise<Ticket> {
  return {
    id: facts.executionId,
    agent: call.caller.name,
    tool: call.tool.name,
    taskId: facts.taskId,
    reason: facts.reason,
    input: JSON.stringify(call.input),
    risk: call.tool.risk,
    needs: call.needs,
    preview: await previewOf(call, facts.executionId),
    askedAt: now,
    expiresAt: now + policy.approval.timeoutMs,
    state: "pending",
  };
}

function factsOf({ id, agent, tool, taskId, reason, input }: Ticket, { redaction }: Policy): Facts {
  const caller = { kind: "agent", name: agent } as const;
  return { executionId: id, caller, agentId: "", tool, taskId, reason, input, redaction };
}

/** What makes two calls the same one. */
const keyOf = ({ agent, tool, taskId, input }: Ticket) => hash("sha256", JSON.stringify([agent, tool, taskId, input]));

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function refused({ tool }: Ticket, reason: string): AiosError {
  return new AiosError("PERMISSION_DENIED", { act: "execute", object: tool, reason });
}

function noSuch(id: string): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "decide",
    object: id,
    reason: "no such call waits: it was decided already, or its time is over",
    next: 'see "aiosctl approvals"',
  });
}

function full({ tool, agent }: Ticket, own: readonly Waiting[]): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "execute",
    object: tool,
    reason: `${own.length} calls of ${agent} wait for a person already`,
    next: "wait until they are decided",
  });
}
