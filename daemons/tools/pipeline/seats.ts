import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";

/**
 * Calls in progress at most: memory and descriptors have an end. Agents together leave room for people and core daemons, who
 * stop and mend them; no agent starves the others.
 */
const seatsMax = 256;
const seatsOfAgentsMax = 192;
const seatsOfAgentMax = 64;

/** Counts calls in progress. */
export class Seats {
  readonly #taken = new Map<string, number>();
  #total = 0;
  #ofAgents = 0;

  /** Runs `act` when there is room. Throws RESOURCE_EXHAUSTED when there is none: the caller waits, not the daemon. */
  async during<T>(caller: Identity, act: () => Promise<T>): Promise<T> {
    const key = `${caller.kind} ${caller.name}`;
    const taken = this.#taken.get(key) ?? 0;
    const agent = caller.kind === "agent";
    if (agent && (taken >= seatsOfAgentMax || this.#ofAgents >= seatsOfAgentsMax))
      throw full(`${taken} calls of ${caller.name} and ${this.#ofAgents} of all agents`);
    if (this.#total >= seatsMax) throw full(`${this.#total} calls`);
    this.#taken.set(key, taken + 1);
    this.#total += 1;
    if (agent) this.#ofAgents += 1;
    try {
      return await act();
    } finally {
      const left = (this.#taken.get(key) ?? 1) - 1;
      if (left === 0) this.#taken.delete(key);
      else this.#taken.set(key, left);
      this.#total -= 1;
      if (agent) this.#ofAgents -= 1;
    }
  }
}

function full(what: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", `execute: ${what} are in progress; wait for one to end`);
}
