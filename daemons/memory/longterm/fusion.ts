/**
 * Relevance is a number with a meaning. Half of it is the share of the query's words that a chunk has, by bm25 with
 * rare words counting more, half the cosine of the vectors; each is 0 to 1 on its own, so scores of the archive, the
 * image's knowledge and a query without vectors can be compared, which ranks fused by place cannot.
 */
import type { TextHit } from "./text-rank.ts";

/** The parts of a chunk's relevance. Each 0–1. */
interface Scores {
  readonly text: number;
  readonly vector: number;
}

/** How much each ranking says; found by `npm run bench -- memory search` over the questions of the repository. */
const textShare = 0.5;

/**
 * Relevance, 0–1: the share of the query's words that the chunk has, rare ones counting more (see TextHit.score), and how
 * near its vector is (the cosine; 0 = nothing in common), half and half. Where there are no vectors it is the text's alone.
 * 1 is the query itself. What answers a question of some words is above 0.3 as a rule, what is below 0.15 is chance.
 */
export function relevanceOf({ text, vector }: Scores): number {
  return textShare * text + (1 - textShare) * vector;
}

/** A chunk by its vector: 0–1. */
export interface VectorHit {
  readonly key: number;
  readonly score: number;
}

export interface Candidate extends Scores {
  readonly key: number;
}

/**
 * All that either ranking found. A chunk that one of them did not reach has there at most what the last one of it has:
 * `vectorOf` may know better; else half of that is taken.
 */
export function candidates(
  text: readonly TextHit[],
  vectors: readonly VectorHit[],
  depth: number,
  vectorOf: (key: number) => number | undefined,
): Candidate[] {
  const textScores = new Map(text.map(({ key, score }) => [key, score]));
  const vectorScores = new Map(vectors.map(({ key, score }) => [key, score]));
  const beyond = (list: readonly { readonly score: number }[]) =>
    list.length < depth ? 0 : (list.at(-1)?.score ?? 0) / 2;
  return [...new Set([...textScores.keys(), ...vectorScores.keys()])].map((key) => ({
    key,
    text: textScores.get(key) ?? beyond(text),
    vector: vectorScores.get(key) ?? vectorOf(key) ?? beyond(vectors),
  }));
}
