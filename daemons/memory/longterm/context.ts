import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import { cosine } from "./embedding.ts";
import { lexicalVector } from "./lexical.ts";
import { type CountTokens, estimatedTokens } from "./tokens.ts";

/** Parts of the memory that a context is made from, and what share of it each has when all have enough. */
const tierShares = { operational: 2, working: 5, longterm: 3, knowledge: 2 } as const;
export type Tier = keyof typeof tierShares;
export const tiers = Object.keys(tierShares) as readonly Tier[];

/** Something that may go into a context. */
export interface Piece {
  readonly tier: Tier;
  /** "snapshot", "events", "goals", … or a collection of the long-term memory. */
  readonly collection: string;
  /** Of the record; "" where there is none. */
  readonly id: string;
  readonly content: string;
  /** 0–1. */
  readonly relevance: number;
}

interface ContextChunk extends Piece {
  readonly tokens: number;
}

interface Context {
  readonly chunks: ContextChunk[];
  readonly totalTokens: number;
  /** The tokens are estimates. */
  readonly estimated: boolean;
}

interface ContextParts {
  /** Comes first, when the operational memory is asked for and it fits. */
  readonly snapshot: Piece | undefined;
  readonly pieces: readonly Piece[];
  readonly tokensMax: number;
  readonly count: CountTokens;
}

/** Two pieces whose lexical vectors are as near as this say the same. */
const sameAbove = 0.92;

/** Pieces that are counted go this far beyond the budget, by estimate: some are dropped, some estimates are too high. */
const headroom = 2;

/** More pieces than this are in no context. */
const piecesMax = 400;

/**
 * Puts together what fits: the snapshot; then, tier by tier, the most relevant pieces up to the tier's share of the rest;
 * then, from all tiers, the most relevant of what is left over. What says the same as a piece that is in already is left out.
 * `totalTokens` is never more than `tokensMax`.
 */
export async function assemble({ snapshot, pieces, tokensMax, count }: ContextParts): Promise<Context> {
  const wanted = likely(pieces, tokensMax);
  const first = snapshot === undefined ? [] : [snapshot];
  const { counts, estimated } = await count([...first, ...wanted].map(({ content }) => content));
  const sized = [...first, ...wanted].map((piece, at): ContextChunk => ({ ...piece, tokens: counts[at] ?? 0 }));
  const rest = sized.slice(first.length);
  const packing = openPacking(tokensMax);
  for (const chunk of sized.slice(0, first.length)) packing.add(chunk, tokensMax);
  const room = tokensMax - packing.total();
  const present = tiers.filter((tier) => rest.some((chunk) => chunk.tier === tier));
  const shares = present.reduce((sum, tier) => sum + tierShares[tier], 0);
  for (const tier of present) {
    let left = Math.floor((room * tierShares[tier]) / shares);
    for (const chunk of rest) if (chunk.tier === tier && packing.add(chunk, left)) left -= chunk.tokens;
  }
  for (const chunk of rest) packing.add(chunk, tokensMax);
  const place = new Map(sized.map((chunk, at) => [chunk, at]));
  const rank = (chunk: ContextChunk) => tiers.indexOf(chunk.tier) * (piecesMax + 1) + (place.get(chunk) ?? 0);
  const chunks = packing.chunks().toSorted((a, b) => rank(a) - rank(b));
  return { chunks, totalTokens: packing.total(), estimated };
}

/** The most relevant first, of each tier as many as could fill the whole context, by estimate. */
function likely(pieces: readonly Piece[], tokensMax: number): Piece[] {
  const sums = new Map<Tier, number>();
  return pieces
    .filter(({ content }) => content.trim() !== "")
    .toSorted((a, b) => b.relevance - a.relevance)
    .filter(({ tier, content }) => {
      const sum = sums.get(tier) ?? 0;
      if (sum > tokensMax * headroom) return false;
      sums.set(tier, sum + estimatedTokens(content));
      return true;
    })
    .slice(0, piecesMax);
}

function openPacking(tokensMax: number) {
  const chunks: ContextChunk[] = [];
  const vectors: Float32Array[] = [];
  const settled = new Set<ContextChunk>();
  const said = new Set<string>();
  let total = 0;
  return {
    /** Whether it was added: it is new, says something new, and is within `budget` and within the whole. */
    add(chunk: ContextChunk, budget: number): boolean {
      if (settled.has(chunk) || chunk.tokens > budget || total + chunk.tokens > tokensMax) return false;
      settled.add(chunk);
      if (said.has(chunk.content)) return false;
      const vector = lexicalVector(chunk.content);
      if (vectors.some((other) => cosine(vector, other) >= sameAbove)) return false;
      said.add(chunk.content);
      chunks.push(chunk);
      vectors.push(vector);
      total += chunk.tokens;
      return true;
    },
    total: () => total,
    chunks: () => chunks,
  };
}

/** Throws INVALID_ARGUMENT for a tier that there is not. None = all. */
export function tiersOf(names: readonly string[]): readonly Tier[] {
  const unknown = names.find((name) => !(tiers as readonly string[]).includes(name));
  if (unknown === undefined) return names.length === 0 ? tiers : tiers.filter((tier) => names.includes(tier));
  throw new AiosError("INVALID_ARGUMENT", {
    act: "assemble a context: read",
    object: "memory_tiers",
    reason: `there is no tier ${JSON.stringify(beginning(unknown, 64))}`,
    next: `ask for some of ${tiers.join(", ")}`,
  });
}
