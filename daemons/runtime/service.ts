import { type Service, service } from "#lib/rpc/service";
import { InferChunk, InferResponse } from "#proto/aios/runtime";
import type { ModelState } from "./between/index.ts";
import { type Models, modelCalls } from "./model-calls.ts";
import { modelStatus } from "./model-status.ts";
import type { Runtime } from "./questions/index.ts";
import { askerOf, askOf, definition, statistics } from "./translate.ts";

/** At most this many files are named. */
const leftOutMax = 50;

/** aios.runtime.AIRuntime over a runtime and its models. */
export function runtimeService(runtime: Runtime, models: Models): Service<typeof definition> {
  return service(definition, {
    ...modelCalls(models),
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
      const all = runtime.models();
      const operational = all.find(({ role }) => role === "operational");
      const [problem, leftOut] = [models.problem(), models.leftOut().slice(0, leftOutMax)];
      const told = all.filter(
        ({ role, status }) => role === "operational" || !["absent", "available"].includes(status),
      );
      const sentences = told.map(({ name, status }) => `${name}: ${status}`);
      const general = {
        backend: operational?.setup?.backend ?? "",
        gpu: models.gpu(),
        waiting: String(runtime.waiting()),
        ...(problem !== undefined && { manifest: problem }),
        ...(leftOut.length > 0 && { left_out: leftOut.join("\n") }),
      };
      return {
        healthy: operational?.status === "ready",
        service: "aios-runtime",
        message: [...sentences, ...(problem === undefined ? [] : [problem])].join("; "),
        uptimeSeconds: Math.floor(runtime.uptimeMs() / 1000),
        details: Object.assign(general, ...told.map(details)),
      };
    },
  });
}

function details({ name, loaded, setup, pid }: ModelState): Record<string, string> {
  const facts = { ...loaded, ...(setup && { threads: setup.threads }), pid };
  return Object.fromEntries(Object.entries(facts).map(([key, value]) => [`${name}.${key}`, String(value)]));
}
