import type { Clock } from "#lib/clock";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import type { MemoryServiceService } from "#proto/aios/memory";
import type { BudgetAlert } from "./budget.ts";

/** Pushes an alert as a critical event to the memory: category "event", `{"type":"budget_alert",…}`. Rejects when it did not arrive. */
export function alertTo(memory: Pick<Client<typeof MemoryServiceService>, "pushEvent">, clock: Clock, log: Log) {
  return async ({ provider, percent, usedUsd, budgetUsd }: BudgetAlert): Promise<void> => {
    const data = { type: "budget_alert", provider, percent, used_usd: usedUsd, budget_usd: budgetUsd };
    log.warn("a monthly budget is nearly or wholly spent", data);
    const now = clock.now();
    try {
      await memory.pushEvent({
        ...{ id: uuidv7(now), timestamp: now, category: "event", source: "gateway", critical: true },
        dataJson: Buffer.from(JSON.stringify(data)),
      });
    } catch (error) {
      log.warn("the memory did not take a budget alert; it is given again at the next request", { error });
      throw error;
    }
  };
}
