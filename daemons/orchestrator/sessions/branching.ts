import { noEvent } from "#kernel/branches";
import type { Kernel } from "#kernel/kernel";
import type { BranchState } from "#kernel/state";
import { AiosError } from "#lib/errors";
import { type BranchRef, type Happening, happeningIn, sequenceOf } from "./happenings.ts";
import type { HeardJournal } from "./ports/index.ts";
import { type SessionView, viewOf } from "./view.ts";

interface BranchingParts {
  readonly kernel: Pick<Kernel, "fork" | "restore" | "replay" | "branches">;
  readonly journal: Pick<HeardJournal, "read">;
}

/** A happening, or (the last) the view as it was then. */
export type Replayed = Happening | { readonly what: "state"; readonly view: SessionView };

/** Events that are read at once. */
const pageLength = 500;
const nameLengthMax = 64;

/** Makes a branch off another one, up to an event (0 = its head). An empty name is chosen here. */
export async function fork(
  parts: BranchingParts,
  { sessionId, branchId }: BranchState,
  sequence: number,
  name: string,
): Promise<SessionView> {
  const { kernel } = parts;
  const branch = name === "" ? freeName(await kernel.branches(sessionId)) : checkedName(name);
  const made = await kernel.fork(sessionId, branchId, branch, sequence === 0 ? undefined : sequence);
  return await viewOf(parts, made);
}

/** Puts what the agent has in mind back to the checkpoint that an event made. */
export async function rewind(parts: BranchingParts, state: BranchState, sequence: number): Promise<SessionView> {
  const { sessionId, branchId, checkpoints, head } = state;
  if (sequence < 1 || sequence > head) throw noEvent("rewind", state, sequence);
  const found = checkpoints.find((one) => sequenceOf(one.sequence) === sequence);
  if (found === undefined) throw noCheckpoint(state, sequence);
  return await viewOf(parts, await parts.kernel.restore(sessionId, branchId, found.checkpointId));
}

/** Replays a branch up to an event (0 = the head), by the journal alone: its happenings, then the view as it was. */
export async function* replay(
  parts: BranchingParts,
  { session, branch }: BranchRef,
  sequence: number,
): AsyncGenerator<Replayed> {
  const state = await parts.kernel.replay(session, branch, sequence === 0 ? undefined : sequence);
  for (let last = 0; last < state.head; ) {
    const page = await parts.journal.read(session, branch, last + 1, pageLength);
    if (page.length === 0) break;
    for (const event of page.filter((one) => one.sequence <= state.head)) {
      const happening = happeningIn(event) ?? checkpointIn(event);
      if (happening !== undefined) yield happening;
    }
    last = page.at(-1)?.sequence ?? state.head;
  }
  yield { what: "state", view: await viewOf(parts, state) };
}

function checkpointIn({ sequence, timestamp, kind }: Parameters<typeof happeningIn>[0]): Happening | undefined {
  if (kind.type !== "CheckpointCreated") return undefined;
  return { sequence, at: Date.parse(timestamp), what: "checkpoint", id: kind.checkpoint_id };
}

function freeName(taken: readonly string[]): string {
  for (let number = 1; ; number += 1) if (!taken.includes(`fork-${number}`)) return `fork-${number}`;
}

function checkedName(name: string): string {
  if (name.length <= nameLengthMax && /^[\w.-]+$/.test(name)) return name;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "fork a session:",
    object: "name",
    reason: `1 to ${nameLengthMax} of letters, digits, ".", "_" and "-" are taken`,
  });
}

function noCheckpoint({ sessionId, branchId, checkpoints }: BranchState, sequence: number): AiosError {
  const made = checkpoints.map((one) => sequenceOf(one.sequence));
  const near = [made.findLast((one) => one < sequence), made.find((one) => one > sequence)];
  const named = near.filter((one) => one !== undefined).join(" and ");
  return new AiosError("NOT_FOUND", {
    act: "rewind",
    object: `session ${sessionId} to event ${sequence}`,
    reason: named === "" ? "there is no checkpoint yet" : `it is no checkpoint; next to it are ${named}`,
    next: `see "aiosctl chat replay ${sessionId} --branch ${branchId}"`,
  });
}
