import type { Client } from "#lib/rpc/service";
import type { Decision, MemoryServiceService } from "#proto/aios/memory";
import type { LoggedDecision } from "./decisions.ts";

/** The memory's context is worth so much waiting; without it a plan is made all the same. */
const contextTimeoutMs = 1_500;

/** Stores a decision in aios-memory; the same one again with what came of it. */
export function decisionStore(
  memory: Client<typeof MemoryServiceService>,
): (decision: LoggedDecision) => Promise<void> {
  return async (decision) => {
    await memory.storeDecision(writeDecision(decision));
  };
}

function writeDecision(decision: LoggedDecision): Decision {
  const { id, goalId, description, situation, options, chosen, why, level, model, outcome, at } = decision;
  return {
    id,
    context: `goal ${goalId}: ${description}: ${situation}`,
    optionsJson: Buffer.from(JSON.stringify(options)),
    chosen,
    reasoning: why,
    intelligenceLevel: level,
    modelUsed: model,
    outcome,
    timestamp: at,
  };
}

/** The memory's knowledge of goals like this, as text; "" when it has nothing, or does not answer soon. */
export function contextOver(
  memory: Client<typeof MemoryServiceService>,
): (description: string, tokensMax: number, signal: AbortSignal) => Promise<string> {
  return async (taskDescription, maxTokens, signal) => {
    const memoryTiers = ["longterm", "knowledge"];
    try {
      const request = { taskDescription, maxTokens, memoryTiers };
      const { chunks } = await memory.assembleContext(request, { signal, timeoutMs: contextTimeoutMs });
      return chunks.map(({ content }) => content).join("\n---\n");
    } catch {
      signal.throwIfAborted();
      return "";
    }
  };
}
