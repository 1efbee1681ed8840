/**
 * A branch's sequence goes on from its parent's. The journal reads through to the parent up to the fork, so a sequence
 * names one event in each branch, and a reader needs not know where the branch began. An event's JSON is kept byte for
 * byte; only its `sequence` is set. Appending an event again (same id, same content) is answered as the first time: a
 * caller that lost the answer repeats the call. A subscriber always reads from the journal, old events and new ones
 * alike, so there is no seam between catching up and following.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Store, takePage } from "../store/index.ts";
import { type BranchRow, openBranches } from "./branches.ts";
import type { Entry, Ref } from "./entry.ts";
import { type Draft, stampedJson } from "./event-record.ts";
import { openSubscribers } from "./subscribers.ts";

/** The sessions' events, numbered from 1 in each branch without a gap. */
export interface Journal {
  /**
   * Appends all of the events or none, durably. Those that are there already (same event_id, same content) are answered as
   * stored, so that a call may be repeated. ABORTED, with both numbers, when the head is not `expectedHead` or a draft has
   * another sequence than the next; NOT_FOUND when a branch other than "main" has not been forked.
   */
  append(ref: Ref, drafts: readonly Draft[], expectedHead: number | undefined): Promise<Entry[]>;
  /** At most `limit` and no more than an answer holds, from a sequence on; what the branch has from its parents included. */
  read(ref: Ref, fromSequence: number, limit: number): Entry[];
  /** 0 when nothing has been appended. */
  head(ref: Ref): number;
  /**
   * The events after a sequence, then each as it comes, without a gap or a repetition. RESOURCE_EXHAUSTED when too many
   * subscribe.
   */
  subscribe(ref: Ref, afterSequence: number, signal: AbortSignal): AsyncIterable<Entry>;
  fork(ref: Ref, fromBranch: string, forkSequence: number | undefined): Promise<BranchRow>;
  readonly lists: ReturnType<typeof openBranches>["lists"];
  subscribers(): number;
}

/** Events that a subscriber is given before others have their turn. */
const catchUpMax = 500;

export function openJournal({ database, write }: Store, clock: Clock): Journal {
  const branches = openBranches(database, clock);
  const subscribers = openSubscribers();
  const insert = database.prepare<[number, number, string, string]>("INSERT INTO journal VALUES (?, ?, ?, ?)");
  const known = database.prepare<[number, string], Entry>(
    "SELECT sequence, event_id AS eventId, event_json AS json FROM journal WHERE branch = ? AND event_id = ?",
  );
  const range = database.prepare<[number, number, number], Entry>(
    `SELECT sequence, event_id AS eventId, event_json AS json FROM journal
     WHERE branch = ? AND sequence >= ? AND sequence <= ? ORDER BY sequence`,
  );
  /** Heads of branches of which events are on their way to the disk: nobody is shown those. */
  const durable = new Map<number, { head: number; pending: number }>();

  const appendNow = (ref: Ref, drafts: readonly Draft[], expectedHead: number | undefined) => {
    const branch = branches.forAppend(ref, drafts[0]?.agentId ?? "");
    const repeated = drafts.map((draft) => repetition(known.get(branch.number, draft.eventId), draft));
    if (repeated.every((entry) => entry !== undefined)) return { branch, entries: repeated };
    if (expectedHead !== undefined && expectedHead !== branch.head) throw conflict(ref, expectedHead, branch.head);
    const entries = drafts.map((draft, at) => {
      const sequence = branch.head + 1 + at;
      if (repeated[at] !== undefined) throw alreadyThere(draft.eventId, repeated[at].sequence);
      if (draft.sequence !== 0 && draft.sequence !== sequence) throw conflict(ref, draft.sequence - 1, sequence - 1);
      const json = stampedJson(draft, sequence);
      insert.run(branch.number, sequence, draft.eventId, json);
      return { sequence, eventId: draft.eventId, json };
    });
    branches.advance(branch.number, branch.head + entries.length);
    return { branch, entries };
  };

  const visibleHead = (branch: BranchRow) => durable.get(branch.number)?.head ?? branch.head;
  const read = (ref: Ref, fromSequence: number, limit: number) => {
    const branch = branches.find(ref);
    if (branch === undefined) return [];
    const last = visibleHead(branch);
    const entries = function* () {
      for (const segment of branches.segments(branch)) {
        const from = Math.max(fromSequence, segment.from);
        const to = Math.min(segment.to, last);
        if (from <= to) yield* range.iterate(segment.branch, from, to);
      }
    };
    return takePage(entries(), limit).records;
  };

  return {
    async append(ref, drafts, expectedHead) {
      let held: { readonly number: number; readonly head: number } | undefined;
      const release = (head: number | undefined) => {
        const state = held && durable.get(held.number);
        if (held === undefined || state === undefined) return;
        if (head !== undefined) state.head = Math.max(state.head, head);
        if (--state.pending === 0) durable.delete(held.number);
        held = undefined;
      };
      try {
        const { branch, entries } = await write(`events of session ${ref.sessionId}`, () => {
          release(undefined);
          const done = appendNow(ref, drafts, expectedHead);
          const { number, head } = done.branch;
          const state = durable.get(number) ?? { head, pending: 0 };
          state.pending++;
          durable.set(number, state);
          held = { number, head };
          return done;
        });
        release(entries.at(-1)?.sequence ?? branch.head);
        subscribers.wake(keyOf(ref));
        return entries;
      } catch (error) {
        release(undefined);
        throw error;
      }
    },
    read,
    head(ref) {
      const branch = branches.find(ref);
      return branch === undefined ? 0 : visibleHead(branch);
    },
    subscribe: (ref, afterSequence, signal) =>
      subscribers.follow({
        key: keyOf(ref),
        read: (after) => read(ref, after + 1, catchUpMax),
        after: afterSequence,
        signal,
      }),
    async fork(ref, fromBranch, forkSequence) {
      const made = await write(`branch ${ref.branchId}`, () => branches.fork(ref, fromBranch, forkSequence));
      subscribers.wake(keyOf(ref));
      return made;
    },
    lists: branches.lists,
    subscribers: subscribers.count,
  };
}

const keyOf = ({ sessionId, branchId }: Ref) => JSON.stringify([sessionId, branchId]);

function repetition(stored: Entry | undefined, draft: Draft): Entry | undefined {
  if (stored === undefined) return undefined;
  if (stored.json === stampedJson(draft, stored.sequence)) return stored;
  throw alreadyThere(draft.eventId, stored.sequence);
}

function conflict({ sessionId, branchId }: Ref, expected: number, actual: number): AiosError {
  return new AiosError("ABORTED", {
    act: "append to",
    object: `session ${sessionId} branch ${branchId}`,
    reason: `sequence conflict: expected head ${expected}, actual head ${actual}`,
    next: `read from ${Math.min(expected, actual) + 1} and decide again`,
  });
}

function alreadyThere(eventId: string, sequence: number): AiosError {
  return new AiosError("ALREADY_EXISTS", {
    act: "append",
    object: `event ${eventId}`,
    reason: `it is there with sequence ${sequence}, with other content or among other events`,
    next: "give each event an id of its own",
  });
}
