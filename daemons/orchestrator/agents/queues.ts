/**
 * Every goal is planned when it comes; what it then waits for is an agent, in a line for its kind of need, the most
 * urgent first: finding whose turn it is takes as many looks as there are lines. A task waits as long as an agent that
 * could take it is there, however busy, and fails when none was for two minutes.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Need } from "./router.ts";

/** A place at an agent for one task, held until it is given back. */
export interface Place {
  readonly agent: string;
  release(): void;
}

/** Longest wait of a task for which no agent is there. It waits without limit for one that is busy. */
export const unattendedMaxMs = 120_000;

/**
 * Queues for places at agents, one for each need, so that whose turn it is takes no longer to find when a thousand
 * wait. In a queue the most urgent come first, among equals the one that came first.
 */
export interface Queues {
  /** Waits for a place. Rejects with the signal's reason, or UNAVAILABLE when no agent was there for too long. */
  enter(need: Need, signal: AbortSignal): Promise<Place>;
  /** Gives out places, to the most urgent of all queues first, until `take` has none for any of them. */
  serve(take: (need: Need) => Place | undefined): void;
  /** Turns away who has waited too long in a queue that nobody attends; `reason` says how the agents are. */
  turnAway(attended: (need: Need) => boolean, reason: () => string): void;
}

interface Waiting {
  readonly need: Need;
  /** Counts up with each that comes. */
  readonly number: number;
  readonly since: number;
  grant(place: Place): void;
  refuse(error: unknown): void;
}

interface Queue {
  readonly waiting: Waiting[];
  attendedAt: number;
}

export function openQueues(clock: Clock): Queues {
  const queues = new Map<string, Queue>();
  let numbers = 0;

  const join = (one: Waiting) => {
    const key = keyOf(one.need);
    const queue = queues.get(key) ?? { waiting: [], attendedAt: clock.monotonic() };
    queues.set(key, queue);
    const before = queue.waiting.findLastIndex(({ need }) => need.priority <= one.need.priority);
    queue.waiting.splice(before + 1, 0, one);
  };

  const leave = (one: Waiting) => {
    const key = keyOf(one.need);
    const left = queues.get(key)?.waiting ?? [];
    const at = left.indexOf(one);
    if (at >= 0) left.splice(at, 1);
    if (left.length === 0) queues.delete(key);
  };

  /** The first of each queue, whose turn it is first. */
  const firsts = (): Waiting[] => {
    const first = [...queues.values()].flatMap(({ waiting }) => waiting.slice(0, 1));
    return first.toSorted((a, b) => a.need.priority - b.need.priority || a.number - b.number);
  };

  const serveOne = (take: (need: Need) => Place | undefined): boolean => {
    for (const one of firsts()) {
      const place = take(one.need);
      if (place === undefined) continue;
      leave(one);
      one.grant(place);
      return true;
    }
    return false;
  };

  return {
    enter: (need, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const end = (act: () => void) => {
          signal.removeEventListener("abort", abort);
          act();
        };
        const one: Waiting = {
          ...{ need, number: numbers++, since: clock.monotonic() },
          grant: (place) => end(() => resolve(place)),
          refuse: (error) => end(() => reject(error)),
        };
        const abort = () => {
          leave(one);
          reject(signal.reason);
        };
        signal.addEventListener("abort", abort, { once: true });
        join(one);
      }),
    serve(take) {
      while (serveOne(take));
    },
    turnAway(attended, reason) {
      const now = clock.monotonic();
      for (const queue of queues.values()) {
        if (queue.waiting.slice(0, 1).some(({ need }) => attended(need))) queue.attendedAt = now;
        const late = queue.waiting.filter(({ since }) => now - Math.max(since, queue.attendedAt) >= unattendedMaxMs);
        for (const one of late) {
          leave(one);
          one.refuse(unattendedError(one.need, reason()));
        }
      }
    },
  };
}

const keyOf = ({ namespace, agent }: Need) => `${namespace} ${agent}`;

function unattendedError({ namespace, agent }: Need, reason: string): AiosError {
  const wanted = agent === "" ? `an agent for ${namespace}` : `agent ${agent}`;
  return new AiosError("UNAVAILABLE", {
    act: "find",
    object: wanted,
    reason: `none was there for ${unattendedMaxMs / 1_000} s (${reason})`,
  });
}
