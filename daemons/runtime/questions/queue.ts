import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** From the most to the least urgent. */
export const priorities = ["health", "interactive", "agent", "background"] as const;
export type Priority = (typeof priorities)[number];

/** Calls that wait for a model at most, and of these from one caller; further ones are refused. */
export const queueLengthMax = 256;
export const callerLengthMax = 64;

/** A call is one priority more urgent for each time that it has waited this long, so that nothing starves. */
export const ageingMs = 10_000;

/** The least and the longest wait that a refused call is told. */
const retryMinMs = 100;
const retryMaxMs = 60_000;

/** Callers that are remembered for fairness. */
const callersMax = 1_024;

export interface Ticket {
  readonly priority: Priority;
  /** The caller: callers of one priority get the same time. */
  readonly caller: string;
}

export interface QueueStatus {
  /** Waiting calls by priority. */
  readonly waiting: Readonly<Record<Priority, number>>;
  readonly running: number;
  readonly refused: number;
}

/** Lets as many acts run at a time as it is wide, the others by priority, and fairly between callers. */
export interface Queue {
  status(): QueueStatus;
  /** How many may run at a time; 1 at first. */
  widen(width: number): void;
  /**
   * Runs `act` in its turn. RESOURCE_EXHAUSTED with the time after which to ask again when the queue is full; rejects with
   * the signal's reason when it is aborted while waiting.
   */
  run<T>(ticket: Ticket, signal: AbortSignal, act: (waitedMs: number) => Promise<T>): Promise<T>;
}

interface WaitingCall extends Ticket {
  readonly since: number;
  readonly start: () => void;
  /** Time that its caller was charged with when it started, ms. */
  charge: number;
}

export function createQueue(name: string, clock: Clock): Queue {
  let waiting: WaitingCall[] = [];
  const usage = openUsage();
  let width = 1;
  let running = 0;
  let refused = 0;
  let meanMs = 1_000;

  const dispatch = () => {
    while (running < width && waiting.length > 0) {
      const next = mostUrgent(waiting, clock.monotonic(), usage);
      waiting = waiting.filter((each) => each !== next);
      running++;
      // Counted before it has run, as a call of the usual length: else a caller's first calls would all be free.
      next.charge = meanMs;
      usage.charge(next.caller, meanMs);
      next.start();
    }
  };

  const turn = (ticket: Ticket, signal: AbortSignal) =>
    new Promise<WaitingCall>((resolve, reject) => {
      const leave = () => {
        waiting = waiting.filter((each) => each !== mine);
        reject(signal.reason);
      };
      const start = () => {
        signal.removeEventListener("abort", leave);
        resolve(mine);
      };
      const mine: WaitingCall = { ...ticket, since: clock.monotonic(), start, charge: 0 };
      signal.addEventListener("abort", leave, { once: true });
      waiting.push(mine);
      dispatch();
    });

  const refuseFull = ({ caller }: Ticket) => {
    const own = waiting.filter((each) => each.caller === caller).length;
    if (waiting.length < queueLengthMax && own < callerLengthMax) return;
    refused++;
    const ahead = waiting.length < queueLengthMax ? own : waiting.length;
    const retryAfterMs = Math.min(retryMaxMs, Math.max(retryMinMs, (ahead * meanMs) / width));
    const whose = waiting.length < queueLengthMax ? ` of ${caller}` : "";
    throw new AiosError(
      "RESOURCE_EXHAUSTED",
      {
        act: "ask model",
        object: name,
        reason: `${ahead} calls${whose} are waiting for it already`,
        next: `ask again in ${Math.ceil(retryAfterMs / 1000)} s`,
      },
      { retryAfterMs },
    );
  };

  return {
    status: () => ({
      waiting: Object.fromEntries(
        priorities.map((priority) => [priority, waiting.filter((each) => each.priority === priority).length]),
      ) as Record<Priority, number>,
      running,
      refused,
    }),
    widen(to) {
      width = to;
      dispatch();
    },
    async run(ticket, signal, act) {
      signal.throwIfAborted();
      refuseFull(ticket);
      usage.welcome(ticket.caller, waiting);
      const call = await turn(ticket, signal);
      const started = clock.monotonic();
      try {
        return await act(started - call.since);
      } finally {
        running--;
        const tookMs = clock.monotonic() - started;
        meanMs += (tookMs - meanMs) / 8;
        usage.charge(ticket.caller, tookMs - call.charge);
        dispatch();
      }
    },
  };
}

/** Time that each caller's calls have taken, ms, counted from what the most modest had when the caller came. */
function openUsage() {
  const used = new Map<string, number>();
  const of = ({ caller }: Ticket) => used.get(caller) ?? 0;
  return {
    of,
    charge(caller: string, ms: number) {
      used.set(caller, (used.get(caller) ?? 0) + ms);
      if (used.size > callersMax) used.clear();
    },
    /** A caller that comes back after a while has no credit for the time it did not ask. */
    welcome(caller: string, waiting: readonly Ticket[]) {
      const least = waiting.length > 0 ? Math.min(...waiting.map(of)) : 0;
      used.set(caller, Math.max(used.get(caller) ?? 0, least));
    },
  };
}

/** By priority and age, then by what the caller has used. */
function mostUrgent(waiting: readonly WaitingCall[], now: number, usage: ReturnType<typeof openUsage>): WaitingCall {
  const urgency = ({ priority, since }: WaitingCall) =>
    priorities.indexOf(priority) - Math.floor((now - since) / ageingMs);
  return waiting.reduce((best, each) => {
    const sooner = urgency(each) - urgency(best) || usage.of(each) - usage.of(best);
    return sooner < 0 ? each : best;
  });
}
