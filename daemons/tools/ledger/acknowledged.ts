import type { Entry } from "./entry.ts";

/** The faults that a person has taken note of, as the entry has them. */
interface Acknowledgement {
  /** Problems as verification told them. */
  readonly problems: readonly string[];
  /** There were more than are told: all that is wrong before the entry is meant. */
  readonly all: boolean;
}

/** The acknowledgements in the ledger. A problem that came after them, or that is another, is a problem still. */
export class Acknowledged {
  readonly #problems = new Set<string>();
  /** What entries before this one show is acknowledged. */
  #allBefore = 0;

  constructor(entries: readonly Entry[]) {
    for (const { output, sequence } of entries) {
      const { problems, all } = read(output);
      for (const problem of problems) this.#problems.add(problem);
      if (all) this.#allBefore = Math.max(this.#allBefore, sequence);
    }
  }

  /** Whether a problem is one of them; `at` is the entry that shows it, 0 when none does. */
  covers(problem: string, at: number): boolean {
    return this.#problems.has(problem) || (at > 0 && at < this.#allBefore);
  }
}

/** An entry that was edited acknowledges nothing. */
function read(output: string): Acknowledgement {
  try {
    return JSON.parse(output) as Acknowledgement;
  } catch {
    return { problems: [], all: false };
  }
}
