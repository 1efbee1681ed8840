import type { Clock } from "#lib/clock";
import { type Entry, hashOf, type Note, wellFormed } from "./entry.ts";
import type { Head, Seal } from "./head.ts";
import { closed, dayOf, type OpenSegment, opened, segmentEntriesMax } from "./segment.ts";
import type { Table } from "./table.ts";

/** The end of the chain, and the segment it is in. */
interface End extends Pick<Head, "sequence" | "hash"> {
  readonly segment: OpenSegment;
}

/** The chain as it grows within a commit. What a failed commit has added is forgotten. */
interface Chain {
  add(note: Note): Entry;
  /** Signs the end, as the commit's last write. */
  sign(): Head;
  committed(): void;
  failed(): void;
}

interface Parts {
  readonly table: Table;
  readonly seal: Seal;
  readonly clock: Clock;
}

/** Goes on behind `found`; `intents` have no outcome yet. */
export function openChain({ table, seal, clock }: Parts, found: End, intents: readonly Entry[]): Chain {
  /** The end as it is committed, and with the notes of the commit in progress. */
  let before = found;
  let end = found;
  let open = openOf(intents);

  /** The segment that takes an entry of this day: the one before is closed when the day is a later one, or when it is full. */
  const segmentOf = (day: string): OpenSegment => {
    const { segment } = end;
    if (segment.day === undefined) return { ...segment, day };
    const isFull = end.sequence - segment.first >= segmentEntriesMax - 1;
    // A clock that was set back goes on in the segment that is open.
    if (day <= segment.day && !isFull) return segment;
    const done = closed({ ...segment, day: segment.day }, end.sequence, end.hash, seal);
    table.addSegment(done);
    return { ...opened(done), day };
  };

  return {
    add: (note) => {
      const unsealed = { ...wellFormed(note), sequence: end.sequence + 1, at: clock.now(), previous: end.hash };
      const entry = { ...unsealed, hash: hashOf(unsealed) };
      const segment = segmentOf(dayOf(entry.at));
      table.insert(entry);
      if (entry.kind === "intent") open.set(entry.executionId, entry.sequence);
      if (entry.kind === "outcome" || entry.kind === "interrupted") open.delete(entry.executionId);
      end = { sequence: entry.sequence, hash: entry.hash, segment };
      return entry;
    },
    sign: () => {
      const head = seal.sign(end.sequence, end.hash);
      table.setHead(head, [...open.values()]);
      return head;
    },
    committed: () => {
      before = end;
    },
    failed: () => {
      end = before;
      open = openOf(table.openIntents());
    },
  };
}

/** The intents without an outcome: their sequences by execution. */
const openOf = (intents: readonly Entry[]) =>
  new Map(intents.map(({ executionId, sequence }) => [executionId, sequence]));
