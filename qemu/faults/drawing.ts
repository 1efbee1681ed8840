/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function drawing(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** In an order that is drawn. */
export function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, drawn: random() }))
    .toSorted((a, b) => a.drawn - b.drawn)
    .map(({ one }) => one);
}

/** One of them. Throws when there is none. */
export function oneOf<T>(all: readonly T[], random: () => number): T {
  const one = all[Math.floor(random() * all.length)];
  if (one === undefined) throw new Error("nothing to draw from");
  return one;
}

/** A whole number from `from` to `to`. */
export const between = (from: number, to: number, random: () => number): number =>
  from + Math.floor(random() * (to - from + 1));
