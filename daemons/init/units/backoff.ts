import { backoffMs } from "#lib/backoff";

/** How long a unit that ended waits before it is started again. */
export const backoff = {
  firstMs: 200,
  longestMs: 30_000,
  /** This many failures in a row are a crash loop: the longest wait each time, and a state of its own. */
  crashLoopAfter: 5,
  /**
   * After each span of readiness this long one earlier failure is forgotten: a unit that is killed now and then is in
   * no crash loop.
   */
  forgottenAfterMs: 6_000,
} as const;

/** Delay before the start that follows `failures` failures in a row. */
export function delayAfter(failures: number, random: number): number {
  const attempt = failures >= backoff.crashLoopAfter ? Number.POSITIVE_INFINITY : failures;
  return backoffMs(attempt, backoff.firstMs, backoff.longestMs, () => random);
}
