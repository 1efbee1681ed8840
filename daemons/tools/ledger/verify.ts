import { setImmediate as turn } from "node:timers/promises";
import { Acknowledged } from "./acknowledged.ts";
import { type Entry, genesis, hashOf } from "./entry.ts";
import type { Head, Seal } from "./head.ts";
import { baseFits, type Ended, flawOf, nothing, rememberedOf } from "./segment.ts";
import type { Table } from "./table.ts";
import type { Witnessed } from "./witness.ts";

/** Entries checked between two turns of the event loop, under a millisecond: a call takes some ten turns, and waits as often. */
const batchLength = 100;

/** How far away the place is looked for that an entry was moved from. */
const moveMax = 500;

/** Problems that are told at most; a ledger with more is no better described by more. */
export const problemsMax = 100;

export interface Verification {
  readonly valid: boolean;
  /** Entries there are. */
  readonly entries: number;
  /** Of these, those of closed segments that were checked before and not again. */
  readonly remembered: number;
  /** Sequence and hash (hexadecimal) of the signed head. */
  readonly head: { readonly sequence: number; readonly hash: string };
  /** What is wrong and where, one sentence each; at most 100. */
  readonly problems: readonly string[];
  /** What else is wrong, and a person has taken note of; at most 100. */
  readonly acknowledged: readonly string[];
}

interface Thoroughness {
  /** Check also what was checked before. */
  readonly full?: boolean;
  /** The head that the console has seen last. */
  readonly witness?: Witnessed | undefined;
}

/**
 * Follows the chain from the last segment that was checked before (`full`: from its first entry) to the signed head, and says
 * what was edited, deleted, moved or cut off, and where.
 */
export async function verifyChain(
  table: Table,
  seal: Seal,
  signal: AbortSignal,
  { full = false, witness }: Thoroughness = {},
): Promise<Verification> {
  const begins = table.base();
  const base: Ended = begins ?? nothing;
  const segments = table.segments();
  const remembered = full ? undefined : rememberedOf(segments, base, seal).at(-1);
  const head = table.head();
  const end = table.last();
  const known = new Acknowledged(table.acknowledged());
  const problems: string[] = [];
  const acknowledged: string[] = [];
  /** `at` is the entry that shows it; 0 when none does. */
  const tell = (problem: string, at = 0) => {
    const list = known.covers(problem, at) ? acknowledged : problems;
    if (list.length < problemsMax) list.push(problem);
  };
  const start = remembered ?? base;
  let entries = 0;
  let last: Pick<Entry, "sequence" | "hash"> = { sequence: start.last, hash: start.hash };
  if (begins !== undefined && !baseFits(begins, seal)) tell("the record of where the ledger begins was edited");
  for (const [at, segment] of segments.entries()) {
    const flaw = flawOf(segment, segments[at - 1] ?? base, seal);
    if (flaw !== undefined) tell(flaw, segment.last);
    const end = table.after(segment.last - 1, 1)[0];
    // Also of those remembered: a segment whose entries are gone is missed at once.
    if (end?.sequence !== segment.last || !end.hash.equals(segment.hash))
      tell(`segment ${segment.number} (${segment.day}) does not end with the entry it was closed with`, segment.last);
  }

  for await (const entry of between(table, last.sequence, end?.sequence ?? 0, signal)) {
    entries += 1;
    const follows = entry.sequence === last.sequence + 1;
    const at = entry.sequence;
    if (!follows) tell(`${span(last.sequence + 1, at - 1)} deleted`, at);
    if (!hashOf(entry).equals(entry.hash)) {
      if (problems.length < problemsMax) tell(explain(entry, end?.sequence ?? 0), at);
    } else if (follows && !entry.previous.equals(last.hash)) {
      tell(`entry ${at} does not follow from entry ${last.sequence}: entry ${last.sequence} was rewritten`, at);
    }
    if (entry.kind === "fault") tell(`entry ${at} records a fault: ${entry.error}`, at);
    last = entry;
  }

  for (const problem of headProblems(head, last, seal)) tell(problem);
  for (const problem of witnessProblems(witness, base.last, table, seal)) tell(problem);
  return {
    valid: problems.length === 0,
    entries: entries + start.last - base.last,
    remembered: start.last - base.last,
    head: { sequence: head?.sequence ?? 0, hash: (head?.hash ?? genesis).toString("hex") },
    problems,
    acknowledged,
  };
}

async function* between(table: Table, start: number, end: number, signal: AbortSignal): AsyncIterable<Entry> {
  for (let sequence = start; sequence < end; ) {
    signal.throwIfAborted();
    const batch = table.after(sequence, batchLength);
    for (const entry of batch) if (entry.sequence <= end) yield entry;
    sequence = batch.at(-1)?.sequence ?? end;
    await turn();
  }
}

function* headProblems(head: Head | undefined, last: Pick<Entry, "sequence" | "hash">, seal: Seal): Iterable<string> {
  if (head === undefined) {
    if (last.sequence > 0) yield "the signed head is missing";
    return;
  }
  if (!seal.fits(head)) yield "the head's signature does not fit";
  if (last.sequence < head.sequence) yield `${span(last.sequence + 1, head.sequence)} cut off from the end`;
  else if (last.sequence > head.sequence)
    yield `${span(head.sequence + 1, last.sequence)} added behind the signed head`;
  else if (!last.hash.equals(head.hash))
    yield `entry ${last.sequence} is not the one that was signed: the chain was rewritten up to its end`;
}

/** The console remembers apart from the ledger: an older one put back, with the head that fits it, does not fit what it has seen. */
function* witnessProblems(witness: Witnessed | undefined, base: number, table: Table, seal: Seal): Iterable<string> {
  if (witness === undefined) return;
  if (!seal.fits(witness)) {
    yield "the head that the console has seen is not signed with this ledger's key: the ledger was replaced";
    return;
  }
  if (witness.sequence === base && table.base()?.hash.equals(witness.hash)) return;
  // Not by pruning: that goes no further than the console has seen.
  if (witness.sequence <= base) {
    yield `entry ${witness.sequence}, which the console has seen last, is gone: the ledger begins behind entry ${base}`;
    return;
  }
  const entry = table.after(witness.sequence - 1, 1)[0];
  if (entry === undefined)
    yield `the console has seen the ledger up to entry ${witness.sequence}: an older ledger was put back`;
  else if (entry.sequence !== witness.sequence || !entry.hash.equals(witness.hash))
    yield `entry ${witness.sequence} is not the one that the console has seen: the ledger was put back and went on`;
}

/** Says of an entry whose hash does not fit whether its content was changed or it was moved from another place. */
function explain(entry: Entry, end: number): string {
  const first = Math.max(1, entry.sequence - moveMax);
  const places = Array.from({ length: Math.min(end, entry.sequence + moveMax) - first + 1 }, (_, at) => first + at);
  const place = places.find((sequence) => hashOf({ ...entry, sequence }).equals(entry.hash));
  return place === undefined
    ? `entry ${entry.sequence} was edited`
    : `entry ${entry.sequence} was reordered: it was written as entry ${place}`;
}

const span = (first: number, last: number) =>
  first === last ? `entry ${first} was` : `entries ${first} to ${last} were`;
