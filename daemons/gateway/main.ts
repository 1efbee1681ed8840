import { effectiveConfig } from "#lib/config";
import { runDaemon } from "#lib/daemon";
import { openGateway } from "./gateway.ts";
import { readKeys } from "./keys.ts";
import { claude, openai } from "./providers.ts";
import { gatewayService } from "./service.ts";
import { openUsage } from "./usage.ts";

await runDaemon("gateway", process.env, ({ paths, clock }) => {
  const { api } = effectiveConfig(paths.run);
  const keys = readKeys(`${paths.etc}/security/api-keys.toml`);
  const usage = openUsage(`${paths.state}/gateway/usage.db`, clock);
  const providers = [
    claude({
      model: api.claude.model,
      maxTokens: api.claude.max_tokens,
      monthlyBudgetUsd: api.claude.monthly_budget_usd,
      baseUrl: "https://api.anthropic.com",
      price: { inputUsd: 3, outputUsd: 15 },
      ...(keys.claude !== undefined && { apiKey: keys.claude }),
    }),
    openai({
      model: api.openai.model,
      maxTokens: api.openai.max_tokens,
      monthlyBudgetUsd: api.openai.monthly_budget_usd,
      baseUrl: "https://api.openai.com",
      price: { inputUsd: 2.5, outputUsd: 10 },
      ...(keys.openai !== undefined && { apiKey: keys.openai }),
    }),
  ];
  const gateway = openGateway(providers, usage, clock);
  return { services: (identity) => [gatewayService(gateway, identity)], close: () => usage.close() };
});
