import { AiosError } from "#lib/errors";
import type { Client } from "#lib/service";
import { type AIRuntimeService, InferRequest } from "#proto/aios/runtime";
import type { Answer, Thinker } from "./model-source.ts";
import { NoModel } from "./plan.ts";

/** A model of this machine, by aios-runtime. Throws what the runtime says when the level has none. */
export function runtimeThinker(runtime: Client<typeof AIRuntimeService>, level: "operational" | "tactical"): Thinker {
  return {
    level,
    async ask({ system, messages, schema, tokensMax, timeoutMs, goalId }, signal): Promise<Answer> {
      const request = InferRequest.fromPartial({
        model: "auto",
        systemPrompt: system,
        messages: messages.map(({ role, text }) => ({ role, content: text })),
        jsonSchema: schema,
        maxTokens: tokensMax,
        intelligenceLevel: level,
        requestingAgent: "orchestrator",
        taskId: goalId,
        // The same goal on the same machine gets the same plan.
        seed: 1,
        priority: "agent",
        truncate: false,
      });
      const { text, modelUsed: model, statistics } = await runtime.infer(request, { signal, timeoutMs }).catch(none);
      return { text, model, provider: "", cut: statistics?.finishReason === "length" };
    },
  };
}

/** What the runtime says when a level has no model, or one that is too small for the question. */
const lacking = ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"];

function none(error: unknown): never {
  if (error instanceof AiosError && lacking.includes(error.code)) throw new NoModel(error.code, error.message);
  throw error;
}
