import { type Service, service } from "#lib/service";
import { AIRuntimeService, InferChunk, type InferRequest, InferResponse, ModelStatus } from "#proto/aios/runtime";
import type { Ask, Runtime } from "./runtime.ts";
import type { SlotStatus } from "./slot.ts";

/** aios.runtime.AIRuntime over a runtime. */
export function runtimeService(runtime: Runtime): Service<typeof AIRuntimeService> {
  return service(AIRuntimeService, {
    infer: async (request, { signal }) => {
      const { text, tokens, latencyMs, model } = await runtime.infer(ask(request), signal);
      return InferResponse.fromPartial({ text, tokensUsed: tokens, latencyMs, modelUsed: model });
    },
    async *streamInfer(request, { signal }) {
      for await (const text of runtime.stream(ask(request), signal)) yield InferChunk.fromPartial({ text });
      yield InferChunk.fromPartial({ done: true });
    },
    listModels: () => ({
      models: runtime
        .models()
        .map(({ name, status, loadedAt, lastUsedAt, requests }) =>
          ModelStatus.fromPartial({ modelName: name, status, loadedAt, lastUsed: lastUsedAt, requestCount: requests }),
        ),
    }),
    healthCheck: () => {
      const models = runtime.models();
      const healthy = models.every(({ status }) => status === "ready");
      return {
        healthy,
        service: "aios-runtime",
        message: models.map(({ name, status }) => `${name}: ${status}`).join("; "),
        uptimeSeconds: Math.floor(runtime.uptimeMs() / 1000),
        details: Object.assign({ backend: "cpu" }, ...models.map(details)),
      };
    },
  });
}

function ask(request: InferRequest): Ask {
  return {
    model: request.model,
    level: request.intelligenceLevel,
    system: request.systemPrompt,
    prompt: request.prompt,
    maxTokens: request.maxTokens,
    temperature: request.temperature,
    jsonSchema: request.jsonSchema,
  };
}

function details({ name, loaded, waiting, pid }: SlotStatus): Record<string, string> {
  const facts = { ...loaded, waiting, pid };
  return Object.fromEntries(Object.entries(facts).map(([key, value]) => [`${name}.${key}`, String(value)]));
}
