/**
 * A sequence keeps what it has read, and a call that begins alike starts there (in place, or as a copy of another
 * sequence's): a second question after a system prompt of 500 tokens gets its first token ten times sooner. Copies are
 * of whole sequences: the addon keeps the keys and values of each apart.
 */
import type { Context } from "./binding.ts";

/** One of the context's sequences: the tokens whose keys and values it holds. */
export interface Sequence {
  readonly id: number;
  /** How many tokens it holds. */
  readonly length: number;
  add(tokens: Uint32Array): void;
  /** Forgets all, when it is not known what it holds. */
  drop(): void;
}

/** A context's sequences. What an answered call leaves in one serves the next call that begins alike. */
export interface Sequences {
  /**
   * A free sequence for `tokens`, holding as many of their first as some sequence does, never all: the last is sampled
   * from. Undefined when none is free.
   */
  take(tokens: Uint32Array): Promise<Sequence | undefined>;
  /** Gives a sequence back; what it holds stays until it is taken for something else. */
  free(sequence: Sequence): void;
  /** Forgets what the free sequences hold. */
  clear(): void;
}

/** Fewer tokens than this are sooner read again than copied, and not worth what else the sequence holds. */
const reuseTokensMin = 32;

interface Slot extends Sequence {
  held: number[];
  busy: boolean;
  /** When it was last freed; the one that was free longest is overwritten first. */
  freedAt: number;
}

export function openSequences(context: Context, count: number): Sequences {
  const slots = Array.from({ length: count }, (_, id) => openSlot(context, id));
  let freed = 0;

  return {
    async take(tokens) {
      const free = slots.filter(({ busy }) => !busy).sort((a, b) => a.freedAt - b.freedAt);
      const oldest = free[0];
      if (oldest === undefined) return undefined;
      const best = mostCommon(free, tokens);
      const source = mostCommon(slots, tokens);
      const reusable = common(best.held, tokens);
      const copied = common(source.held, tokens) - reusable >= reuseTokensMin;
      // A copy goes over the oldest, so that both the beginning and what follows it stay where they are.
      const chosen = copied || reusable < reuseTokensMin ? oldest : best;
      chosen.busy = true;
      if (copied) await copy(context, source, chosen);
      trim(context, chosen, common(chosen.held, tokens));
      return chosen;
    },
    free(sequence) {
      const slot = slots[sequence.id];
      if (slot === undefined) return;
      slot.busy = false;
      slot.freedAt = ++freed;
    },
    clear() {
      for (const slot of slots) if (!slot.busy) slot.drop();
    },
  };
}

function openSlot(context: Context, id: number): Slot {
  return {
    id,
    held: [],
    busy: false,
    freedAt: 0,
    get length() {
      return this.held.length;
    },
    add(tokens) {
      for (const token of tokens) this.held.push(token);
    },
    drop() {
      context.disposeSequence(id);
      this.held = [];
    },
  };
}

function mostCommon(slots: readonly Slot[], tokens: Uint32Array): Slot {
  return slots.reduce((best, slot) => (common(slot.held, tokens) > common(best.held, tokens) ? slot : best));
}

/** How many first tokens of `tokens` are held, the last not counted. */
function common(held: readonly number[], tokens: Uint32Array): number {
  const most = Math.min(held.length, tokens.length - 1);
  let same = 0;
  while (same < most && tokens[same] === held[same]) same++;
  return same;
}

async function copy(context: Context, from: Slot, to: Slot): Promise<void> {
  if (from === to) return;
  to.drop();
  await context.copySequenceStateFromOtherSequence(to.id, from.id);
  to.held = [...from.held];
}

/** Forgets what follows the first `length` tokens; all, when the model cannot forget a part. */
function trim(context: Context, slot: Slot, length: number): void {
  if (length === slot.held.length) return;
  // A model with a sliding window no longer has the beginning, and what it has cannot be cut short.
  const windowed = context.getSequenceKvCacheMinPosition(slot.id) > 0;
  if (length === 0 || windowed || !context.removeTokenCellsFromSequence(slot.id, length, -1)) slot.drop();
  else slot.held.length = length;
}
