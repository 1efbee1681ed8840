import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/service";

/** Calls in progress at most, in all and of one agent: memory and descriptors have an end, and no agent starves the others. */
const seatsMax = 256;
const seatsOfAgentMax = 64;

/** Counts calls in progress. */
export class Seats {
  readonly #taken = new Map<string, number>();
  #total = 0;

  /** Runs `act` when there is room. Throws RESOURCE_EXHAUSTED when there is none: the caller waits, not the daemon. */
  async during<T>(caller: Identity, act: () => Promise<T>): Promise<T> {
    const key = `${caller.kind} ${caller.name}`;
    const taken = this.#taken.get(key) ?? 0;
    const most = caller.kind === "agent" ? seatsOfAgentMax : seatsMax;
    if (taken >= most || this.#total >= seatsMax) {
      throw new AiosError(
        "RESOURCE_EXHAUSTED",
        `execute: ${taken} calls of ${caller.name} are in progress; wait for one to end`,
      );
    }
    this.#taken.set(key, taken + 1);
    this.#total += 1;
    try {
      return await act();
    } finally {
      const left = (this.#taken.get(key) ?? 1) - 1;
      if (left === 0) this.#taken.delete(key);
      else this.#taken.set(key, left);
      this.#total -= 1;
    }
  }
}
