import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { ApiGatewayService } from "#proto/aios/api_gateway";
import { ApiInferRequest } from "#proto/aios/api_gateway";
import { type InferenceRequest, InferenceResponse } from "#proto/aios/common";
import { type AIRuntimeService, InferRequest } from "#proto/aios/runtime";

/** A local model on a slow machine takes its time; a provider is given the gateway's own. */
const inferenceTimeoutMs = 180_000;

interface Models {
  readonly runtime: Pick<Client<typeof AIRuntimeService>, "infer">;
  readonly gateway: Pick<Client<typeof ApiGatewayService>, "infer">;
}

/** Takes a question to where its level is answered: a model of the machine, or (strategic) a provider by the gateway. */
export async function routeInference(
  request: InferenceRequest,
  asker: string,
  { runtime, gateway }: Models,
  signal: AbortSignal,
): Promise<InferenceResponse> {
  const level = request.intelligenceLevel || "operational";
  const options = { timeoutMs: inferenceTimeoutMs, signal };
  const { prompt, systemPrompt, maxTokens, temperature, taskId } = request;
  const asked = { prompt, systemPrompt, maxTokens, temperature, taskId, requestingAgent: asker };
  if (level === "strategic") {
    return await gateway.infer(ApiInferRequest.fromPartial({ ...asked, allowFallback: true }), options);
  }
  if (level !== "operational" && level !== "tactical") {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "route a question of level",
      object: level,
      reason: level === "reactive" ? "rules answer without a model" : "there is no such level",
      next: "ask for operational, tactical or strategic",
    });
  }
  const model = request.model || "auto";
  const { text, tokensUsed, latencyMs, modelUsed } = await runtime.infer(
    InferRequest.fromPartial({ ...asked, model, intelligenceLevel: level }),
    options,
  );
  return InferenceResponse.fromPartial({ text, tokensUsed, latencyMs, modelUsed, intelligenceLevel: level });
}
