import type { EventRecord } from "#kernel/events";
import { type Kernel, mainBranch } from "#kernel/kernel";
import type { BranchState } from "#kernel/state";
import type { HeardJournal } from "./ports/index.ts";

/** A branch of a session as people see it. */
export interface SessionView {
  readonly id: string;
  readonly name: string;
  readonly agent: string;
  readonly owner: string;
  readonly level: string;
  readonly createdAt: number;
  readonly state: "idle" | "working" | "closed";
  readonly branch: string;
  /** All there are, main first. */
  readonly branches: readonly string[];
  readonly head: number;
  readonly turns: BranchState["turns"];
  readonly budget: BranchState["budget"];
}

/** The first event of a session. */
export async function firstOf(journal: Pick<HeardJournal, "read">, session: string): Promise<EventRecord | undefined> {
  const [first] = await journal.read(session, mainBranch, 1, 1);
  return first;
}

/** Name, owner, level and time of a session, by its first event. */
export function madeOf(first: EventRecord | undefined) {
  const kind = first?.kind.type === "SessionCreated" ? first.kind : undefined;
  const { owner = "", level = "" } = (kind?.config ?? {}) as { owner?: string; level?: string };
  return { name: kind?.name ?? "", owner, level, createdAt: first === undefined ? 0 : Date.parse(first.timestamp) };
}

/** The view of a branch's state, as it is or as it was. */
export async function viewOf(
  { kernel, journal }: { readonly kernel: Pick<Kernel, "branches">; readonly journal: Pick<HeardJournal, "read"> },
  state: BranchState,
): Promise<SessionView> {
  const { sessionId: id, branchId: branch, agentId: agent, head, turns, budget, closed, run } = state;
  const standing = closed !== undefined ? "closed" : run !== undefined ? "working" : "idle";
  const made = madeOf(await firstOf(journal, id));
  return { id, agent, ...made, state: standing, branch, branches: await kernel.branches(id), head, turns, budget };
}
