import { AiosError } from "#lib/errors";
import { type Identity, type Service, service } from "#lib/service";
import { ApiGatewayService, type ApiInferRequest } from "#proto/aios/api_gateway";
import type { Gateway } from "./gateway.ts";

/** Days that GetUsage looks back when none are given, and at most. */
const daysDefault = 30;
const daysMax = 366;

/** aios.api_gateway.ApiGateway over a gateway, for the callers of one socket. */
export function gatewayService(gateway: Gateway, identity: Identity): Service<typeof ApiGatewayService> {
  const ask = (request: ApiInferRequest, signal: AbortSignal) =>
    gateway.infer(
      {
        prompt: request.prompt,
        system: request.systemPrompt,
        maxTokens: request.maxTokens,
        temperature: request.temperature,
      },
      {
        agent: request.requestingAgent || identity.name,
        taskId: request.taskId,
        preferred: request.preferredProvider,
        allowFallback: request.allowFallback,
      },
      signal,
    );

  return service(ApiGatewayService, {
    infer: async (request, { signal }) => {
      const answer = await ask(request, signal);
      return {
        text: answer.text,
        tokensUsed: answer.inputTokens + answer.outputTokens,
        latencyMs: answer.latencyMs,
        modelUsed: answer.model,
        intelligenceLevel: "strategic",
        costUsd: answer.costUsd,
        fromCache: false,
      };
    },
    getBudget: () => {
      const budget = gateway.budget();
      return {
        claudeMonthlyBudgetUsd: budget.monthlyUsd.get("claude") ?? 0,
        claudeUsedUsd: budget.usedUsd.get("claude") ?? 0,
        openaiMonthlyBudgetUsd: budget.monthlyUsd.get("openai") ?? 0,
        openaiUsedUsd: budget.usedUsd.get("openai") ?? 0,
        daysRemaining: budget.daysRemaining,
        dailyRateUsd: budget.dailyRateUsd,
        budgetExceeded: budget.exceeded,
      };
    },
    getUsage: ({ provider, days }) => {
      if (days < 0 || days > daysMax) {
        throw new AiosError(
          "INVALID_ARGUMENT",
          `get usage of ${days} days: expected 0 (the last ${daysDefault}) to ${daysMax}`,
        );
      }
      const records = gateway.usage(provider, days || daysDefault);
      return {
        records: records.map(({ at, agent, ...usage }) => ({ ...usage, timestamp: at, requestingAgent: agent })),
        totalCostUsd: records.reduce((sum, { costUsd }) => sum + costUsd, 0),
        totalRequests: records.length,
        totalTokens: records.reduce((sum, { inputTokens, outputTokens }) => sum + inputTokens + outputTokens, 0),
      };
    },
  });
}
