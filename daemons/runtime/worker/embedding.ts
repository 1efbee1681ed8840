import type { Embedded, Embedding } from "../between/index.ts";
import type { Context, Model } from "./binding.ts";
import { Refusal } from "./refusal.ts";

/** The context's embeddings are read from its first sequence only. */
const sequence = 0;

interface Limits {
  /** Tokens of one text at most. */
  readonly most: number;
  /** The token that ends a text where the model wants one of its own for that (BERT's [SEP]). */
  readonly endToken: number | undefined;
}

/** A vector of unit length for each text. INVALID_ARGUMENT that names the text which has too many tokens, unless it may be cut. */
export async function embedTexts(
  model: Model,
  context: Context,
  { texts, from, truncate }: Embedding,
  limits: Limits,
): Promise<Embedded> {
  const all = texts.map((text, at) => tokensOf(model, text, from + at, limits, truncate));
  const vectors: number[][] = [];
  for (const tokens of all) {
    context.disposeSequence(sequence);
    context.initBatch(tokens.length);
    context.addToBatch(sequence, 0, tokens, Uint32Array.of(tokens.length - 1));
    await context.decodeBatch();
    vectors.push(unit(context.getEmbedding(tokens.length)));
  }
  context.disposeSequence(sequence);
  return { vectors, tokens: all.reduce((sum, { length }) => sum + length, 0) };
}

function tokensOf(model: Model, text: string, at: number, { most, endToken }: Limits, truncate: boolean): Uint32Array {
  const start = model.shouldPrependBosToken() ? [model.tokenBos()] : [];
  const eos = model.shouldAppendEosToken() ? [model.tokenEos()] : [];
  const end = endToken === undefined ? eos : [endToken];
  const room = most - start.length - end.length;
  const tokens = model.tokenize(text, false);
  if (tokens.length > room && !truncate) {
    throw new Refusal(
      "INVALID_ARGUMENT",
      `texts[${at}] has ${tokens.length} tokens, at most ${room} fit the model: shorten it or set truncate`,
    );
  }
  if (tokens.length === 0) throw new Refusal("INVALID_ARGUMENT", `texts[${at}] has no tokens`);
  return Uint32Array.from([...start, ...tokens.subarray(0, room), ...end]);
}

function unit(vector: Float64Array): number[] {
  const length = Math.hypot(...vector);
  if (!Number.isFinite(length) || length === 0) throw new Error("the model gives no vector that has a length");
  return Array.from(vector, (value) => value / length);
}
