import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Policies } from "../access/index.ts";
import type { Ledger, Note } from "../ledger/index.ts";
import type { Documents } from "../state/index.ts";
import { type Executed, type Facts, refusal } from "./record.ts";
import { factsOf, type Ticket } from "./tickets.ts";

/** A ticket, and who waits for what comes of it. */
export interface Waiting {
  readonly ticket: Ticket;
  readonly decided: PromiseWithResolvers<Executed>;
  readonly over: AbortController;
  /** A ticket that is being written is shown to nobody yet; one that was decided is decided by nobody else. */
  state: "being written" | "waiting" | "decided";
}

/** The calls that wait for a person, in the order of asking. */
interface WaitingCalls {
  all(): readonly Waiting[];
  find(id: string): Waiting | undefined;
  /** Throws NOT_FOUND. */
  known(id: string): Waiting;
  add(ticket: Ticket, state: Waiting["state"]): Waiting;
  /** Shows a ticket that is on disk, until its time is over. */
  show(one: Waiting): void;
  /** Takes a ticket from those that wait: whoever does it decides, and nobody after. Throws NOT_FOUND. */
  take(id: string): Waiting;
  /** Writes down that a call is not carried out, as a refusal unless `note` says otherwise; who waits is told `error`. */
  refuse(one: Waiting, error: AiosError, note?: (facts: Facts) => Note): Promise<void>;
  remove(id: string): void;
}

interface Parts {
  readonly ledger: Ledger;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly log: Log;
}

export function openWaiting({ ledger, policies, clock, log }: Parts, documents: Documents<Ticket>): WaitingCalls {
  const waiting = new Map<string, Waiting>();
  const known = (id: string): Waiting => {
    const found = waiting.get(id);
    if (found === undefined) throw noSuch(id);
    return found;
  };
  const take = (id: string): Waiting => {
    const found = known(id);
    if (found.state !== "waiting") throw noSuch(id);
    found.state = "decided";
    found.over.abort();
    return found;
  };
  const refuse = async ({ ticket, decided }: Waiting, error: AiosError, note = refusalFor(error)) => {
    try {
      await ledger.append(note(factsOf(ticket, policies.last())));
      await documents.remove(ticket.id);
    } finally {
      waiting.delete(ticket.id);
      decided.reject(error);
    }
  };
  return {
    all: () => [...waiting.values()],
    find: (id) => waiting.get(id),
    known,
    add: (ticket, state) => {
      const one: Waiting = { ticket, decided: Promise.withResolvers<Executed>(), over: new AbortController(), state };
      // Nobody may be waiting for it, after a restart.
      one.decided.promise.catch(() => {});
      waiting.set(ticket.id, one);
      return one;
    },
    show: (one) => {
      one.state = "waiting";
      const { id, askedAt, expiresAt } = one.ticket;
      const leftMs = Math.max(0, Math.min(expiresAt - clock.now(), expiresAt - askedAt));
      const late = () => refuse(take(id), refused(one.ticket, "nobody answered in time"));
      clock.sleep(leftMs, one.over.signal).then(
        () => late().catch((error) => log.error("refuse a call", { error })),
        () => {},
      );
    },
    take,
    refuse,
    remove: (id) => void waiting.delete(id),
  };
}

const refusalFor = (error: AiosError) => (facts: Facts) => refusal(facts, error.message);

export function refused({ tool }: Ticket, reason: string): AiosError {
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
