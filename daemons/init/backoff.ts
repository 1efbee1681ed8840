/** How long a unit that ended waits before it is started again. */
export const backoff = {
  firstMs: 200,
  longestMs: 30_000,
  /** So many failures in a row are a crash loop: the longest wait each time, and a state of its own. */
  crashLoopAfter: 5,
  /** Ready for this long, and earlier failures are forgotten. */
  steadyAfterMs: 60_000,
} as const;

/** Delay before the start that follows `failures` failures in a row: doubling, ±20 % so that units do not start in step. */
export function delayAfter(failures: number, random: number): number {
  const doubled = backoff.firstMs * 2 ** (failures - 1);
  const delay = failures >= backoff.crashLoopAfter ? backoff.longestMs : Math.min(doubled, backoff.longestMs);
  return Math.round(delay * (0.8 + 0.4 * random));
}
