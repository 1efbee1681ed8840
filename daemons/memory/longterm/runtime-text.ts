import { connect } from "#lib/rpc/client";
import { AIRuntimeService, EmbedRequest, InferRequest } from "#proto/aios/runtime";

interface Embedded {
  readonly vectors: readonly Float32Array[];
  /** Name of the model that made them. */
  readonly model: string;
}

/** The runtime's work on texts. */
export interface RuntimeText {
  /** Vectors of length 1 by the embedding model. Rejects with the runtime's code: there is none, or it is away. */
  embed(texts: readonly string[], priority: "interactive" | "background"): Promise<Embedded>;
  /** Tokens of a prompt in the operational model's chat format. */
  countTokens(prompt: string): Promise<number>;
  close(): void;
}

const interactiveTimeoutMs = 1_000;
const backgroundTimeoutMs = 120_000;
const countTimeoutMs = 300;

/** `target` is the runtime's socket. */
export function runtimeText(target: string): RuntimeText {
  const client = connect(AIRuntimeService, target);
  return {
    async embed(texts, priority) {
      const request = EmbedRequest.fromPartial({ texts: [...texts], truncate: true, priority });
      const timeoutMs = priority === "interactive" ? interactiveTimeoutMs : backgroundTimeoutMs;
      const { embeddings, modelUsed } = await client.embed(request, { timeoutMs });
      return { vectors: embeddings.map(({ values }) => Float32Array.from(values)), model: modelUsed };
    },
    async countTokens(prompt) {
      const { tokens } = await client.countTokens(InferRequest.fromPartial({ prompt }), {
        timeoutMs: countTimeoutMs,
      });
      return tokens;
    },
    close: () => client.close(),
  };
}
