import { genesis } from "./entry.ts";
import type { Seal } from "./head.ts";

/** Entries of one segment at most: a day's are many on a busy machine, and what is pruned is a segment. */
export const segmentEntriesMax = 20_000;

/**
 * The entries of one day (UTC), or of a part of it, closed and signed when the entry behind it is written. Segments are linked by
 * their signatures.
 */
export interface Segment {
  /** From 1, without gaps. */
  readonly number: number;
  /** "2026-01-31": the day of its first entry. */
  readonly day: string;
  /** Sequences of its first and last entry. */
  readonly first: number;
  readonly last: number;
  /** Hash of its last entry. */
  readonly hash: Buffer;
  /** Signature of the segment before; of the first one, {@link genesis}. */
  readonly previous: Buffer;
  readonly signature: Buffer;
  /** Signed when every entry of it was checked and found right; null until then. */
  readonly verified: Buffer | null;
}

/** The end of a segment: all that the next one needs to know of it. */
export type Ended = Pick<Segment, "number" | "last" | "hash" | "signature">;

/** The end before the very first segment. */
export const nothing: Ended = { number: 0, last: 0, hash: genesis, signature: genesis };

/**
 * Where the chain in the file begins: the end of what is not there any more, because it was pruned or lost. Of lost entries only the
 * last known head is known, and no segment.
 */
export interface Base extends Ended {
  /** Signature of all this. */
  readonly mark: Buffer;
}

const baseText = ({ number, last, hash, signature }: Ended) =>
  `aios-ledger-base-1 ${number} ${last} ${hash.toString("hex")} ${signature.toString("hex")}`;

export function baseOf(ended: Ended, seal: Seal): Base {
  const { number, last, hash, signature } = ended;
  return { number, last, hash, signature, mark: seal.signText(baseText(ended)) };
}

export const baseFits = (base: Base, seal: Seal): boolean => seal.fitsText(baseText(base), base.mark);

/** The segment that is being written. */
export interface OpenSegment extends Pick<Segment, "number" | "first" | "previous"> {
  /** Undefined until it has an entry. */
  readonly day: string | undefined;
}

const dayMs = 86_400_000;
let latest = { number: Number.NaN, text: "" };

/** The day (UTC) of a moment. Asked of every entry, and nearly always of the same day. */
export function dayOf(at: number): string {
  const number = Math.floor(at / dayMs);
  if (number !== latest.number) latest = { number, text: new Date(number * dayMs).toISOString().slice(0, 10) };
  return latest.text;
}

const signedText = ({ number, day, first, last, hash, previous }: Omit<Segment, "signature" | "verified">) =>
  `aios-ledger-segment-1 ${number} ${day} ${first} ${last} ${hash.toString("hex")} ${previous.toString("hex")}`;

const verifiedText = ({ number, signature }: Segment) =>
  `aios-ledger-segment-verified-1 ${number} ${signature.toString("hex")}`;

/** Closes a segment behind its last entry. */
export function closed(open: OpenSegment & { day: string }, last: number, hash: Buffer, seal: Seal): Segment {
  const segment = { ...open, last, hash };
  return { ...segment, signature: seal.signText(signedText(segment)), verified: null };
}

/** The segment that follows. */
export function opened({ number, last, signature }: Ended): OpenSegment {
  return { number: number + 1, first: last + 1, previous: signature, day: undefined };
}

/** The mark of a segment that was checked as a whole. */
export const verifiedMark = (segment: Segment, seal: Seal): Buffer => seal.signText(verifiedText(segment));

/** The segments from the first on that were checked in full and are linked and signed as they were. */
export function rememberedOf(segments: readonly Segment[], base: Ended, seal: Seal): readonly Segment[] {
  const end = segments.findIndex((segment, at) => {
    const { verified } = segment;
    return (
      verified === null ||
      !seal.fitsText(verifiedText(segment), verified) ||
      flawOf(segment, segments[at - 1] ?? base, seal)
    );
  });
  return end < 0 ? segments : segments.slice(0, end);
}

/** Finds a fault of a segment's place or signature; undefined when there is none. */
export function flawOf(segment: Segment, before: Ended, seal: Seal): string | undefined {
  const expected = opened(before);
  if (segment.number !== expected.number) return `segment ${expected.number} was deleted`;
  if (!seal.fitsText(signedText(segment), segment.signature))
    return `segment ${segment.number} (${segment.day}) was edited`;
  if (segment.first !== expected.first || !segment.previous.equals(expected.previous))
    return `segment ${segment.number} (${segment.day}) does not follow from the one before`;
  return undefined;
}
