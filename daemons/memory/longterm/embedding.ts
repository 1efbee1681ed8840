import { lexicalDimension, lexicalId, lexicalVector } from "./lexical.ts";

/** Makes vectors of length 1 from texts; what is alike lies close. */
export interface Embedding {
  /** Names what decides the vectors: another name, other vectors. */
  readonly id: string;
  readonly dimension: number;
  /** One vector a text, in order. Throws when whoever makes them is away. */
  embed(texts: readonly string[]): Promise<Float32Array[]>;
  /** The same at once, where it costs nothing to speak of. */
  readonly embedNow?: (text: string) => Float32Array;
  /** The cosine of texts that have nothing in common. */
  readonly floor: number;
}

/** The embedding of a machine without an embedding model. */
export const lexicalEmbedding: Embedding = {
  id: lexicalId,
  dimension: lexicalDimension,
  embed: async (texts) => texts.map(lexicalVector),
  embedNow: lexicalVector,
  floor: 0,
};

/** Cosine of two vectors of length 1. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}

/** A cosine as 0–1: 0 for what has nothing in common. */
export function closeness(similarity: number, { floor }: Pick<Embedding, "floor">): number {
  return Math.min(1, Math.max(0, (similarity - floor) / (1 - floor)));
}
