import { AiosError } from "#lib/errors";
import type { Reservation, Usage, UsageStore } from "./usage.ts";

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

/** The highest cost that a request can have. */
export type Most = Omit<Usage, "at" | "outcome" | "provider">;

/** One provider's budget of a month. What requests in flight may cost at most counts as spent. */
export interface Budget {
  readonly monthlyUsd: number;
  usedUsd(): number;
  /** The reason why a request that may cost this much does not fit; one that costs nothing always does. */
  refusal(usd: number): AiosError | undefined;
  /** Sets aside, durably, what a request may cost. Throws when it does not fit, or cannot be written. */
  reserve(most: Most): Reservation;
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
  const telling = new Set<number>();
  const usedUsd = () => usage.spentThisMonth(provider);
  const refusal = (usd: number) =>
    usd === 0 || usedUsd() + usd <= monthlyUsd ? undefined : overBudget(provider, monthlyUsd);
  return {
    monthlyUsd,
    usedUsd,
    refusal,
    reserve(most) {
      const refused = refusal(most.costUsd);
      if (refused !== undefined) throw refused;
      return usage.reserve({ ...most, provider });
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

function overBudget(object: string, monthlyUsd: number): AiosError {
  const reason = `this month's budget of ${monthlyUsd} USD has no room for what the request may cost`;
  const next = "raise monthly_budget_usd in /etc/aios/config.toml, or wait for the next month";
  return new AiosError("RESOURCE_EXHAUSTED", { act: "ask", object, reason, next });
}
