import type { Config } from "#lib/config/config";
import { durationMs } from "#lib/config/duration";
import type { Price } from "./budget.ts";
import type { CacheLimits } from "./cache.ts";

/** One external model service. */
export interface ProviderSettings {
  readonly name: string;
  readonly protocol: "claude" | "openai";
  readonly baseUrl: string;
  /** At its maker's own address. */
  readonly ownServer: boolean;
  readonly model: string;
  /** Tokens an answer has at most. */
  readonly maxTokens: number;
  readonly monthlyBudgetUsd: number;
  readonly rateLimitRpm: number;
  readonly needsKey: boolean;
  /** On the operator's own network: asked even where nothing may leave the machine. */
  readonly inside: boolean;
  /** Asked after all others, even when it is preferred. */
  readonly fallbackOnly: boolean;
  /** Undefined: the price table lacks the model, and it is not asked. */
  readonly price: Price | undefined;
}

export interface GatewaySettings {
  /** In the order they are asked. */
  readonly providers: readonly ProviderSettings[];
  /** Names in `order` that no provider has. */
  readonly unknown: readonly string[];
  readonly allowOutbound: boolean;
  readonly alertPercent: number;
  readonly requestTimeoutMs: number;
  readonly attemptsMax: number;
  readonly breakerFailures: number;
  readonly breakerPauseMs: number;
  readonly cache: CacheLimits & { readonly entriesMax: number };
  readonly queue: { readonly lengthMax: number; readonly waitMaxMs: number };
}

type Configured = Pick<Config, "api" | "network" | "gateway">;
type ConfiguredModel = Config["api"]["claude"];

const openaiRateLimitRpm = 50;

/** The gateway's settings; what the configuration leaves out has the image's value. */
export function settingsOf(config: Configured): GatewaySettings {
  const { api, network, gateway = {} } = config;
  const own = (protocol: "claude" | "openai", at: string, model: ConfiguredModel, fallbackOnly: boolean) => ({
    ...limitsOf(model),
    ...{ name: protocol, protocol, fallbackOnly, needsKey: true, inside: false },
    ...{ baseUrl: withoutSlash(model.base_url ?? at), ownServer: model.base_url === undefined },
  });
  const named = new Map<string, Omit<ProviderSettings, "price">>([
    ["claude", own("claude", "https://api.anthropic.com", api.claude, false)],
    [
      "openai",
      own(
        "openai",
        "https://api.openai.com/v1",
        { rate_limit_rpm: openaiRateLimitRpm, ...api.openai },
        api.openai.fallback_only,
      ),
    ],
  ]);
  for (const [name, provider] of Object.entries(gateway.providers ?? {})) {
    named.set(name, {
      ...limitsOf(provider),
      ...{ name, protocol: provider.protocol, baseUrl: withoutSlash(provider.base_url), ownServer: false },
      ...{ needsKey: provider.needs_key ?? true, inside: provider.inside ?? false },
      fallbackOnly: provider.fallback_only ?? false,
    });
  }
  const order = gateway.order ?? ["claude", "openai"];
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  const ordered = [...named.values()].toSorted(
    (a, b) => Number(a.fallbackOnly) - Number(b.fallbackOnly) || rank(a.name) - rank(b.name),
  );
  return {
    providers: ordered.map((provider) => ({ ...provider, price: priceOf(gateway.prices?.[provider.model]) })),
    unknown: order.filter((name) => !named.has(name)),
    allowOutbound: network.allow_outbound,
    alertPercent: gateway.alert_percent ?? 80,
    requestTimeoutMs: durationMs(gateway.request_timeout ?? "120s"),
    attemptsMax: gateway.attempts_max ?? 3,
    breakerFailures: gateway.breaker_failures ?? 5,
    breakerPauseMs: durationMs(gateway.breaker_pause ?? "30s"),
    cache: {
      ttlMs: durationMs(gateway.cache_ttl ?? "1h"),
      documentationTtlMs: durationMs(gateway.cache_ttl_documentation ?? "24h"),
      entriesMax: gateway.cache_entries_max ?? 1_000,
    },
    queue: {
      lengthMax: gateway.queue_length_max ?? 100,
      waitMaxMs: durationMs(gateway.queue_wait_max ?? "10m"),
    },
  };
}

const limitsOf = (model: ConfiguredModel) => ({
  model: model.model,
  maxTokens: model.max_tokens,
  monthlyBudgetUsd: model.monthly_budget_usd,
  rateLimitRpm: model.rate_limit_rpm,
});

const withoutSlash = (url: string) => url.replace(/\/+$/, "");

function priceOf(price: { input_usd: number; output_usd: number } | undefined): Price | undefined {
  return price && { inputUsd: price.input_usd, outputUsd: price.output_usd };
}
