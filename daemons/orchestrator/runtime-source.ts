import type { Client } from "#lib/service";
import { type AIRuntimeService, InferRequest } from "#proto/aios/runtime";
import type { Answer, Thinker } from "./model-source.ts";

/** A model of this machine, by aios-runtime. Throws what the runtime says when the level has none. */
export function runtimeThinker(runtime: Client<typeof AIRuntimeService>, level: "operational" | "tactical"): Thinker {
  return {
    level,
    async ask({ system, messages, tokensMax, timeoutMs, goalId }, signal): Promise<Answer> {
      const request = InferRequest.fromPartial({
        model: "auto",
        systemPrompt: system,
        prompt: messages.map(({ text }) => text).join("\n\n"),
        maxTokens: tokensMax,
        intelligenceLevel: level,
        requestingAgent: "orchestrator",
        taskId: goalId,
      });
      const { text, modelUsed: model } = await runtime.infer(request, { signal, timeoutMs });
      return { text, model, provider: "", cut: false };
    },
  };
}
