import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { daysRemaining, type Usage, type UsageStore } from "./usage.ts";

export interface Prompt {
  readonly prompt: string;
  readonly system: string;
  /** Tokens the answer may have; 0 = as configured for the provider. */
  readonly maxTokens: number;
  readonly temperature: number;
}

export interface Completion {
  readonly text: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number;
}

/** One external model service. Without `complete` it is configured but has no key. */
export interface Provider {
  readonly name: string;
  readonly monthlyBudgetUsd: number;
  readonly complete?: (prompt: Prompt, signal: AbortSignal) => Promise<Completion>;
}

export interface Asked {
  readonly agent: string;
  readonly taskId: string;
  /** A provider's name, or empty for the first that can answer. */
  readonly preferred: string;
  readonly allowFallback: boolean;
}

export interface Budget {
  readonly monthlyUsd: ReadonlyMap<string, number>;
  readonly usedUsd: ReadonlyMap<string, number>;
  readonly daysRemaining: number;
  /** What may be spent a day until the month ends. */
  readonly dailyRateUsd: number;
  readonly exceeded: boolean;
}

export interface Gateway {
  /** Asks the preferred provider, else the first in order that has a key and budget. Records what it cost. */
  infer(prompt: Prompt, asked: Asked, signal: AbortSignal): Promise<Completion & { latencyMs: number }>;
  budget(): Budget;
  usage(provider: string, days: number): Usage[];
}

export function openGateway(providers: readonly Provider[], store: UsageStore, clock: Clock): Gateway {
  const left = (provider: Provider) => provider.monthlyBudgetUsd - store.spentThisMonth(provider.name);

  return {
    async infer(prompt, asked, signal) {
      const provider = choose(providers, asked, left);
      const started = clock.monotonic();
      const completion = await provider.complete(prompt, signal);
      store.add({ ...completion, provider: provider.name, at: clock.now(), agent: asked.agent, taskId: asked.taskId });
      return { ...completion, latencyMs: Math.round(clock.monotonic() - started) };
    },
    budget() {
      const days = daysRemaining(clock.now());
      const usable = providers.reduce((sum, provider) => sum + Math.max(0, left(provider)), 0);
      return {
        monthlyUsd: new Map(providers.map((provider) => [provider.name, provider.monthlyBudgetUsd])),
        usedUsd: new Map(providers.map((provider) => [provider.name, store.spentThisMonth(provider.name)])),
        daysRemaining: days,
        dailyRateUsd: usable / (days + 1),
        exceeded: providers.every((provider) => left(provider) <= 0),
      };
    },
    usage: (provider, days) => store.since(provider, days),
  };
}

type Ready = Provider & Required<Pick<Provider, "complete">>;

function choose(providers: readonly Provider[], asked: Asked, left: (provider: Provider) => number): Ready {
  const wanted = providers.filter(
    ({ name }) => asked.preferred === "" || asked.allowFallback || name === asked.preferred,
  );
  const ordered = wanted.toSorted((a, b) => Number(b.name === asked.preferred) - Number(a.name === asked.preferred));
  if (ordered.length === 0) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask",
      object: asked.preferred,
      reason: "no such provider",
      next: `use one of ${providers.map(({ name }) => name).join(", ")}`,
    });
  }
  const keyed = ordered.filter((provider): provider is Ready => provider.complete !== undefined);
  const names = ordered.map(({ name }) => name).join(", ");
  if (keyed.length === 0) {
    throw new AiosError("UNAVAILABLE", {
      act: "ask",
      object: names,
      reason: "no API key is configured on this machine",
      next: "write it to /etc/aios/security/api-keys.toml and restart the gateway",
    });
  }
  const affordable = keyed.find((provider) => left(provider) > 0);
  if (affordable === undefined) {
    throw new AiosError("RESOURCE_EXHAUSTED", {
      act: "ask",
      object: names,
      reason: "this month's budget is spent",
      next: "raise monthly_budget_usd in /etc/aios/config.toml or wait for the next month",
    });
  }
  return affordable;
}
