import { AiosError, type Code } from "#lib/errors";
import { beginning } from "#lib/text";
import { Branch } from "./branch.ts";
import type { BranchState } from "./state.ts";
import type { World } from "./writer.ts";

export const mainBranch = "main";

/** Branches that are kept in memory while nothing is done on them. */
const restingMax = 1_000;
const idLengthMax = 128;

/** The branches that a kernel has at hand; what is not at hand is read from the journal. */
export class Branches {
  readonly world: World;
  readonly #open = new Map<string, Branch>();

  constructor(world: World) {
    this.world = world;
  }

  at(session: string, branch: string): Branch {
    const key = JSON.stringify([session, branch]);
    const found = this.#open.get(key) ?? new Branch(this.world, checkedId(session), checkedId(branch));
    // The last one used stands last.
    this.#open.delete(key);
    this.#open.set(key, found);
    if (this.#open.size > restingMax) this.#forget(found);
    return found;
  }

  /** All branches of a session, main first, by what the journal says of forks. */
  async names(session: string): Promise<string[]> {
    const found = [mainBranch];
    for (const branch of found) {
      const { children } = await this.at(session, branch).state();
      found.push(...children.filter((child) => !found.includes(child)));
    }
    return found;
  }

  close(): void {
    for (const branch of this.#open.values()) branch.close();
  }

  #forget(used: Branch): void {
    for (const [key, branch] of this.#open) {
      if (branch === used || !branch.resting) continue;
      this.#open.delete(key);
      return;
    }
  }
}

/** Throws when nothing can be added to the branch. */
export function requireOpen(state: BranchState): BranchState {
  const name = `${state.sessionId}/${state.branchId}`;
  if (state.head === 0) throw refusal("NOT_FOUND", "use", name, "there is no such session or branch");
  if (state.closed !== undefined) throw refusal("FAILED_PRECONDITION", "add to", name, state.closed);
  return state;
}

export function busyError({ sessionId, branchId, run }: BranchState): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "begin on",
    object: `${sessionId}/${branchId}`,
    reason: `run ${run?.runId} is open`,
    next: "wait for it, decide what it waits for, or cancel it",
  });
}

/** A branch has no event of this sequence. */
export function noEvent(act: string, { sessionId, branchId, head }: BranchState, sequence: number): AiosError {
  const reason = sequence < 1 ? "events begin with 1" : `its last event is ${head}`;
  return refusal("OUT_OF_RANGE", act, `${sessionId}/${branchId} at event ${sequence}`, reason);
}

/** An error of the kernel's own. */
export function refusal(code: Code, act: string, object: string, reason: string): AiosError {
  return new AiosError(code, { act, object, reason });
}

export function checkedId(id: string): string {
  if (id !== "" && id.length <= idLengthMax) return id;
  throw refusal(
    "INVALID_ARGUMENT",
    "use",
    JSON.stringify(beginning(id, 32)),
    `an id has 1 to ${idLengthMax} characters`,
  );
}
