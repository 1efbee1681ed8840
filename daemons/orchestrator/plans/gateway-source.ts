import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import { type ApiGatewayService, ApiInferRequest } from "#proto/aios/api_gateway";
import { NoModel } from "../plan.ts";
import type { Answer, Thinker } from "./model-source.ts";

/** The gateway tells what it has at once. */
const statusTimeoutMs = 2_000;

/** A provider outside the machine, by aios-gateway. */
export function gatewayThinker(gateway: Client<typeof ApiGatewayService>): Thinker {
  return {
    level: "strategic",
    async ask({ system, messages, schema, tokensMax, timeoutMs, taskType, goalId }, signal): Promise<Answer> {
      const { providers } = await gateway.getBudget({}, { signal, timeoutMs: statusTimeoutMs });
      if (providers.every(({ state }) => state !== "ready")) throw noProvider(providers);
      const request = ApiInferRequest.fromPartial({
        systemPrompt: system,
        messages: messages.map(({ role, text }) => ({ role, text })),
        jsonSchema: schema,
        maxTokens: tokensMax,
        requestingAgent: "orchestrator",
        taskId: goalId,
        allowFallback: true,
        taskType,
      });
      const answer = await gateway.infer(request, { signal, timeoutMs });
      const { text, modelUsed: model, providerUsed: provider, finishReason, costUsd } = answer;
      if (finishReason === "refused") {
        throw new AiosError("FAILED_PRECONDITION", { act: "ask", object: provider, reason: "the model refused" });
      }
      const usage = { prompt: answer.inputTokens, completion: answer.outputTokens };
      return { text, model, provider: provider || "cache", cut: finishReason === "length", usage, costUsd };
    },
  };
}

interface Provider {
  readonly name: string;
  readonly state: string;
  readonly hasKey: boolean;
}

function noProvider(providers: readonly Provider[]): AiosError {
  const states = providers.map(({ name, state }) => `${name}: ${state}`).join(", ");
  const fault = {
    act: "ask",
    object: "a model outside the machine",
    reason: states === "" ? "no strategic provider configured" : `none can be asked (${states})`,
    next: 'see "aiosctl providers"',
  };
  // One that has a key is there, and may be asked again later.
  const later = providers.some(({ hasKey }) => hasKey);
  return later ? new AiosError("UNAVAILABLE", fault) : new NoModel("FAILED_PRECONDITION", fault);
}
