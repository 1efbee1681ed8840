import { AiosError } from "#lib/errors";
import { type Call, type Identity, type Service, service } from "#lib/rpc/service";
import { ApiGatewayService, type ApiInferRequest } from "#proto/aios/api_gateway";
import { InferenceResponse } from "#proto/aios/common";
import type { BudgetState, Gateway, Given } from "./gateway.ts";
import type { Asked } from "./question.ts";
import { readQuestion } from "./read-question.ts";

/** Days that GetUsage looks back when none are given, and at most. */
const daysDefault = 30;
const daysMax = 366;

/** aios.api_gateway.ApiGateway over a gateway, for the callers of one socket. */
export function gatewayService(gateway: Gateway): Service<typeof ApiGatewayService> {
  return service(ApiGatewayService, {
    infer: async (request, { identity, signal }) =>
      responseOf(await gateway.ask(await questionOf(request), askedOf(request, identity), signal)),
    async *streamInfer(request, { identity, signal }: Call) {
      for await (const piece of gateway.stream(await questionOf(request), askedOf(request, identity), signal)) {
        if ("text" in piece) yield { text: piece.text, done: false, provider: "", response: undefined };
        else yield { text: "", done: true, provider: piece.given.provider, response: responseOf(piece.given) };
      }
    },
    getBudget: () => budgetOf(gateway.budget()),
    getUsage: ({ days, provider, model, requestingAgent: agent, taskId }) => {
      if (days < 0 || days > daysMax) {
        throw new AiosError(
          "INVALID_ARGUMENT",
          `get usage of ${days} days: expected 0 (the last ${daysDefault}) to ${daysMax}`,
        );
      }
      const { records, totals } = gateway.usage({ provider, model, agent, taskId, days: days || daysDefault });
      return {
        records: records.map(({ at, agent, ...usage }) => ({ ...usage, timestamp: at, requestingAgent: agent })),
        totalCostUsd: totals.costUsd,
        totalRequests: totals.requests,
        totalTokens: totals.tokens,
      };
    },
  });
}

function questionOf(request: ApiInferRequest) {
  return readQuestion({ ...request, system: request.systemPrompt });
}

/** A core daemon says for which agent it asks; an operator asks for themselves. */
function askedOf(request: ApiInferRequest, { kind, name }: Identity): Asked {
  const { taskId, preferredProvider: preferred, allowFallback, taskType, whenUnavailable } = request;
  if (!["", "refuse", "queue"].includes(whenUnavailable))
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask",
      object: "when_unavailable",
      reason: "neither refuse nor queue",
      next: "use one of them",
    });
  const agent = kind === "core" ? request.requestingAgent || name : `${kind}:${name}`;
  return { agent, taskId, preferred, allowFallback, taskType, queue: whenUnavailable === "queue" };
}

function responseOf(given: Given): InferenceResponse {
  return InferenceResponse.fromPartial({
    text: given.text,
    tokensUsed: given.inputTokens + given.outputTokens,
    latencyMs: given.latencyMs,
    modelUsed: given.model,
    intelligenceLevel: "strategic",
    costUsd: given.costUsd,
    fromCache: given.fromCache,
    toolCalls: given.toolCalls.map(({ id, name, arguments: input }) => ({
      ...{ id, name, argumentsJson: Buffer.from(JSON.stringify(input)) },
    })),
    finishReason: given.finish,
    providerUsed: given.provider,
    inputTokens: given.inputTokens,
    outputTokens: given.outputTokens,
  });
}

function budgetOf(budget: BudgetState) {
  const of = (name: string) => budget.providers.find((provider) => provider.name === name);
  return {
    claudeMonthlyBudgetUsd: of("claude")?.monthlyBudgetUsd ?? 0,
    claudeUsedUsd: of("claude")?.usedUsd ?? 0,
    openaiMonthlyBudgetUsd: of("openai")?.monthlyBudgetUsd ?? 0,
    openaiUsedUsd: of("openai")?.usedUsd ?? 0,
    daysRemaining: budget.daysRemaining,
    dailyRateUsd: budget.dailyRateUsd,
    budgetExceeded: budget.exceeded,
    providers: [...budget.providers],
  };
}
