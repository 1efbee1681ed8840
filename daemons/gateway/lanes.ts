import type { Log } from "#lib/log";
import { type BudgetAlert, openBudget } from "./budget.ts";
import { type Lane, type LaneWorld, openLane } from "./lane.ts";
import { claudeWire, openaiWire, openLearned } from "./providers/index.ts";
import type { GatewaySettings } from "./settings.ts";
import type { UsageStore } from "./usage.ts";

/** A lane to each configured provider, in the order they are asked. */
export function openLanes(
  settings: GatewaySettings,
  world: Omit<LaneWorld, "settings" | "wire" | "budget"> & {
    readonly usage: UsageStore;
    readonly log: Log;
    readonly alert: (alert: BudgetAlert) => Promise<void>;
  },
): Lane[] {
  return settings.providers.map((provider) => {
    const { name, protocol, model, baseUrl, ownServer, monthlyBudgetUsd } = provider;
    const open = { claude: claudeWire, openai: openaiWire }[protocol];
    const wireSettings = { model, baseUrl, ownServer, timeoutMs: settings.requestTimeoutMs };
    const wire = open(wireSettings, world.clock, openLearned(name, world.log));
    const budget = openBudget(name, monthlyBudgetUsd, settings.alertPercent, world.usage, world.alert);
    return openLane(provider, { ...world, settings, wire, budget });
  });
}
