import type { UsageStore } from "./usage.ts";

/** US dollars for a million tokens. */
export interface Price {
  readonly inputUsd: number;
  readonly outputUsd: number;
}

export function costOf({ inputUsd, outputUsd }: Price, inputTokens: number, outputTokens: number): number {
  return (inputTokens * inputUsd + outputTokens * outputUsd) / 1_000_000;
}

/** A budget that reached a part of itself. */
export interface BudgetAlert {
  readonly provider: string;
  readonly percent: number;
  readonly usedUsd: number;
  readonly budgetUsd: number;
}

/** One provider's budget of a month. What requests in flight may cost at most counts as spent. */
export interface Budget {
  readonly monthlyUsd: number;
  usedUsd(): number;
  /** Whether a request that may cost so much fits. One that costs nothing always does. */
  allows(usd: number): boolean;
  /** Sets so much aside; the function gives it back. */
  reserve(usd: number): () => void;
  /** Tells, once a month each, that the alert's part or all of the budget is spent. */
  tell(): void;
}

export function openBudget(
  provider: string,
  monthlyUsd: number,
  alertPercent: number,
  usage: UsageStore,
  /** Resolves when the alert is known to have arrived; an alert that did not is given again at the next request. */
  alert: (alert: BudgetAlert) => Promise<void>,
): Budget {
  let reservedUsd = 0;
  const telling = new Set<number>();
  const usedUsd = () => usage.spentThisMonth(provider);
  return {
    monthlyUsd,
    usedUsd,
    allows: (usd) => usd === 0 || usedUsd() + reservedUsd + usd <= monthlyUsd,
    reserve(usd) {
      reservedUsd += usd;
      let held = true;
      return () => {
        if (held) reservedUsd -= usd;
        held = false;
      };
    },
    tell() {
      const used = usedUsd();
      if (used === 0) return;
      for (const percent of new Set([alertPercent, 100])) {
        if (used < (monthlyUsd * percent) / 100 || telling.has(percent) || usage.alerted(provider, percent)) continue;
        telling.add(percent);
        alert({ provider, percent, usedUsd: used, budgetUsd: monthlyUsd })
          .then(() => usage.give(provider, percent))
          .catch(() => {})
          .finally(() => telling.delete(percent));
      }
    },
  };
}
