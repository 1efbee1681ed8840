/**
 * Charges are part of `fold`; `BudgetUpdated`, `ModeChanged` and `CircuitBreakerTripped` report them, and are owed
 * until they are in the journal.
 */
import type { BudgetState } from "./shapes.ts";

/** The cost of one thing. Absent = nothing. */
interface Charge {
  readonly tokens?: number;
  readonly timeMs?: number;
  readonly costUsd?: number;
  readonly calls?: number;
  readonly errors?: number;
}

/** The budget after a charge; never less than nothing. */
export function charge(
  budget: BudgetState,
  { tokens = 0, timeMs = 0, costUsd = 0, calls = 0, errors = 0 }: Charge,
): BudgetState {
  return {
    tokens_remaining: Math.max(0, budget.tokens_remaining - tokens),
    time_remaining_ms: Math.max(0, budget.time_remaining_ms - timeMs),
    cost_remaining_usd: Math.max(0, budget.cost_remaining_usd - costUsd),
    tool_calls_remaining: Math.max(0, budget.tool_calls_remaining - calls),
    error_budget_remaining: Math.max(0, budget.error_budget_remaining - errors),
  };
}

/** The budget that is used up and stops a run; `asking`: the model is to be asked next, which takes tokens and money. */
export function usedUp(budget: BudgetState, given: BudgetState, asking: boolean): string | undefined {
  if (budget.error_budget_remaining <= 0) return "errors";
  if (budget.time_remaining_ms <= 0) return "time";
  if (asking && budget.tokens_remaining <= 0) return "tokens";
  // No money from the start means models that cost none; an answer that cost something after all is noticed when it comes.
  if (asking && budget.cost_remaining_usd <= 0 && given.cost_remaining_usd > 0) return "cost";
  return undefined;
}
