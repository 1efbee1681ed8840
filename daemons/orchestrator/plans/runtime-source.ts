import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import { type AIRuntimeService, InferRequest } from "#proto/aios/runtime";
import { NoModel } from "../plan.ts";
import type { Answer, Thinker } from "./model-source.ts";

/** The runtime tells what it has at once. */
const listTimeoutMs = 2_000;

/**
 * A model of this machine, by aios-runtime. Throws what the runtime says when the level has none, and FAILED_PRECONDITION when
 * it has the bring-up model, whose answers mean nothing.
 */
export function runtimeThinker(runtime: Client<typeof AIRuntimeService>, level: "operational" | "tactical"): Thinker {
  return {
    level,
    async ask({ system, messages, schema, tokensMax, timeoutMs, goalId }, signal): Promise<Answer> {
      const { models } = await runtime.listModels({}, { signal, timeoutMs: listTimeoutMs });
      const answering = models.find((model) => model.level === level);
      if (answering?.entry?.role === "bring-up") throw meaningless(level, answering.modelName);
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
      const { promptTokens: prompt = 0, answerTokens: completion = 0, finishReason } = statistics ?? {};
      return { text, model, provider: "", cut: finishReason === "length", usage: { prompt, completion }, costUsd: 0 };
    },
  };
}

function meaningless(level: string, model: string): NoModel {
  return new NoModel("FAILED_PRECONDITION", {
    act: "ask",
    object: `the ${level} model`,
    reason: `${model} is there to prove that a model can be loaded, and its answers mean nothing`,
    next: 'name another in [models] of /etc/aios/config.toml; see "aiosctl models"',
  });
}

/** Codes of the runtime when a level has no model, or one that is too small for the question. */
const lacking = ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"];

function none(error: unknown): never {
  if (error instanceof AiosError && lacking.includes(error.code)) throw new NoModel(error.code, error.message);
  throw error;
}
