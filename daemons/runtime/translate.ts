import { AiosError } from "#lib/errors";
import type { Call, Identity } from "#lib/rpc/service";
import { AIRuntimeService, InferRequest, InferStatistics } from "#proto/aios/runtime";
import { type Ask, type Asker, type Outcome, type Priority, priorityOf } from "./questions/index.ts";
import { badUtf8, type TextFields } from "./utf8.ts";

/** Texts of a request that a model reads. */
const inferTexts: TextFields = {
  2: "prompt",
  3: "system_prompt",
  9: "json_schema",
  10: { name: "messages", fields: { 2: "content" } },
  11: "stop",
};

/** Requests that came with bytes which are no UTF-8, and the field. */
const spoilt = new WeakMap<InferRequest, string>();

/** Reads a request, and remembers when a text of it was no UTF-8: the handler refuses it, with the field's name. */
function readInferRequest(bytes: Buffer): InferRequest {
  const request = InferRequest.decode(bytes);
  const field = badUtf8(bytes, inferTexts);
  if (field !== undefined) spoilt.set(request, field);
  return request;
}

/** The service as it is generated, but for how it reads what callers wrote. */
export const definition = {
  ...AIRuntimeService,
  infer: { ...AIRuntimeService.infer, requestDeserialize: readInferRequest },
  streamInfer: { ...AIRuntimeService.streamInfer, requestDeserialize: readInferRequest },
  countTokens: { ...AIRuntimeService.countTokens, requestDeserialize: readInferRequest },
} as const;

export function askOf(request: InferRequest, call: Call): Ask {
  const field = spoilt.get(request);
  if (field !== undefined) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask with",
      object: field,
      reason: "its bytes are not UTF-8",
      next: "correct the request",
    });
  }
  return {
    ...askerOf(request, call),
    model: request.model,
    level: request.intelligenceLevel,
    system: request.systemPrompt,
    messages: request.messages,
    prompt: request.prompt,
    maxTokens: request.maxTokens,
    temperature: request.temperature,
    topP: request.topP,
    minP: request.minP,
    topK: request.topK,
    seed: request.seed,
    stop: request.stop,
    jsonSchema: request.jsonSchema,
    truncate: request.truncate,
  };
}

/** Callers are remembered by name. */
const agentLengthMax = 128;

/** Priorities that agents may ask for; the others are for people and for the machine's own health. */
const agentPriorities: readonly Priority[] = ["agent", "background"];

/** The asker of a call: the socket says who it is, and only a core daemon may ask on behalf of an agent. */
export function askerOf(
  { requestingAgent, priority }: { readonly requestingAgent: string; readonly priority: string },
  { identity }: Pick<Call, "identity">,
): Asker {
  if (requestingAgent.length > agentLengthMax) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask with",
      object: "requesting_agent",
      reason: `${requestingAgent.length} characters, at most ${agentLengthMax}`,
      next: "give the agent's name",
    });
  }
  const agent = agentOf(identity, requestingAgent);
  const caller =
    agent !== "" ? `agent:${agent}` : identity.kind === "core" ? "core" : `${identity.kind}:${identity.name}`;
  const chosen = priorityOf(priority, agent !== "" ? "agent" : "interactive");
  if (identity.kind === "agent" && !agentPriorities.includes(chosen)) {
    throw new AiosError("PERMISSION_DENIED", {
      act: "ask with",
      object: "priority",
      reason: `agents do not ask at the priority "${chosen}"`,
      next: `leave it empty, or ask at ${agentPriorities.join(" or ")}`,
    });
  }
  return { caller, priority: chosen };
}

function agentOf(identity: Identity, said: string): string {
  if (identity.kind === "core") return said;
  if (identity.kind === "operator") return "";
  if (said === "" || said === identity.name) return identity.name;
  throw new AiosError("PERMISSION_DENIED", {
    act: "ask with",
    object: "requesting_agent",
    reason: `agent ${identity.name} asks in the name of ${said}`,
    next: "leave it empty",
  });
}

export function statistics(outcome: Outcome): InferStatistics {
  return InferStatistics.fromPartial({
    promptTokens: outcome.promptTokens,
    reusedTokens: outcome.reusedTokens,
    answerTokens: outcome.answerTokens,
    droppedTokens: outcome.droppedTokens,
    finishReason: outcome.stop,
    queueMs: outcome.queueMs,
    firstTokenMs: outcome.promptMs,
    promptMs: outcome.promptMs,
    answerMs: outcome.answerMs,
    modelUsed: outcome.model,
  });
}
