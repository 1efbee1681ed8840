import { genesis } from "./entry.ts";
import type { Seal } from "./head.ts";

/** The entries of one day (UTC), closed and signed when the next day's first entry is written. Segments are linked by their signatures. */
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

/** The segment that follows a closed one, or the first. */
export function opened(before: Segment | undefined): OpenSegment {
  if (before === undefined) return { number: 1, first: 1, previous: genesis, day: undefined };
  return { number: before.number + 1, first: before.last + 1, previous: before.signature, day: undefined };
}

/** What says of a segment that all of it was checked. */
export const verifiedMark = (segment: Segment, seal: Seal): Buffer => seal.signText(verifiedText(segment));

/** The segments from the first on that were checked in full and are linked and signed as they were. */
export function rememberedOf(segments: readonly Segment[], seal: Seal): readonly Segment[] {
  const end = segments.findIndex((segment, at) => {
    const { verified } = segment;
    return (
      verified === null || !seal.fitsText(verifiedText(segment), verified) || flawOf(segment, segments[at - 1], seal)
    );
  });
  return end < 0 ? segments : segments.slice(0, end);
}

/** What is wrong with a segment's place or signature; undefined when nothing is. */
export function flawOf(segment: Segment, before: Segment | undefined, seal: Seal): string | undefined {
  const expected = opened(before);
  if (segment.number !== expected.number) return `segment ${expected.number} was deleted`;
  if (!seal.fitsText(signedText(segment), segment.signature))
    return `segment ${segment.number} (${segment.day}) was edited`;
  if (segment.first !== expected.first || !segment.previous.equals(expected.previous))
    return `segment ${segment.number} (${segment.day}) does not follow from the one before`;
  return undefined;
}
