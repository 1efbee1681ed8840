import { type Service, service } from "#lib/service";
import { InferChunk, InferResponse, ModelStatus } from "#proto/aios/runtime";
import type { ModelState } from "./pool.ts";
import type { Runtime } from "./runtime.ts";
import { askerOf, askOf, definition, statistics } from "./translate.ts";

/** aios.runtime.AIRuntime over a runtime. */
export function runtimeService(runtime: Runtime): Service<typeof definition> {
  return service(definition, {
    infer: async (request, call) => {
      const answer = await runtime.infer(askOf(request, call), call.signal);
      const { text, tokens: tokensUsed, latencyMs, model: modelUsed } = answer;
      return InferResponse.fromPartial({ text, tokensUsed, latencyMs, modelUsed, statistics: statistics(answer) });
    },
    async *streamInfer(request, call) {
      const answer = runtime.stream(askOf(request, call), call.signal);
      try {
        for (;;) {
          const { done, value } = await answer.next();
          if (done) return yield InferChunk.fromPartial({ done: true, statistics: statistics(value) });
          yield InferChunk.fromPartial({ text: value });
        }
      } finally {
        await answer.return(undefined as never);
      }
    },
    countTokens: async (request, call) => {
      const { model: modelUsed, tokens, contextTokens } = await runtime.count(askOf(request, call), call.signal);
      return { modelUsed, tokens, contextTokens };
    },
    embed: async (request, call) => {
      const { texts, model, truncate } = request;
      const made = await runtime.embed({ texts, model, truncate, ...askerOf(request, call) }, call.signal);
      const embeddings = made.vectors.map((values) => ({ values: [...values] }));
      return { embeddings, modelUsed: made.model, tokensUsed: made.tokens };
    },
    getMetrics: () => ({ text: runtime.metrics() }),
    listModels: () => ({ models: runtime.models().map(modelStatus) }),
    healthCheck: () => {
      const models = runtime.models();
      const operational = models.filter(({ role }) => role === "operational");
      return {
        healthy: operational.every(({ status }) => status === "ready"),
        service: "aios-runtime",
        message: models.map(({ name, status }) => `${name}: ${status}`).join("; "),
        uptimeSeconds: Math.floor(runtime.uptimeMs() / 1000),
        details: Object.assign({ backend: "cpu", waiting: String(runtime.waiting()) }, ...models.map(details)),
      };
    },
  });
}

function modelStatus(model: ModelState): ModelStatus {
  const { setup, loaded } = model;
  return ModelStatus.fromPartial({
    modelName: model.name,
    status: model.status,
    loadedAt: model.loadedAt,
    lastUsed: model.lastUsedAt,
    requestCount: model.requests,
    active: model.active,
    memoryBytes: model.memoryBytes,
    pid: model.pid,
    ...(setup && { backend: setup.backend, gpuLayers: setup.gpuLayers, threads: setup.threads }),
    ...(loaded && { contextTokens: loaded.contextTokens, sequences: loaded.sequences, loadMs: loaded.loadMs }),
  });
}

function details({ name, loaded, setup, pid }: ModelState): Record<string, string> {
  const facts = { ...loaded, ...(setup && { threads: setup.threads }), pid };
  return Object.fromEntries(Object.entries(facts).map(([key, value]) => [`${name}.${key}`, String(value)]));
}
