/** Milliseconds to wait before try number `attempt` (from 1): doubling from `firstMs` to `mostMs`, each ±25 % so that many do not come at once. */
export function backoffMs(attempt: number, firstMs: number, mostMs: number, random: () => number): number {
  const doubled = Math.min(mostMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(doubled * (0.75 + random() / 2));
}
