import type { Client } from "#lib/rpc/service";
import type { AIRuntimeService } from "#proto/aios/runtime";

/** The snapshot does not wait longer than this for the runtime. */
const timeoutMs = 500;

/** Asks the runtime which models are ready. Best effort: a runtime that does not answer has none loaded. */
export function loadedModels(runtime: Client<typeof AIRuntimeService>): () => Promise<string[]> {
  return async () => {
    try {
      const { models } = await runtime.listModels({}, { timeoutMs });
      return models.filter(({ status }) => status === "ready").map(({ modelName }) => modelName);
    } catch {
      return [];
    }
  };
}
