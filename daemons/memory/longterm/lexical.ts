import { wordsOf } from "../words.ts";
import { synonyms } from "./lexical-synonyms.ts";
import { commonWords, rareWeight } from "./lexical-words.ts";

/*
 * The lexical embedding: what a machine without an embedding model has. A text becomes its words (stemmed), the sets of
 * synonyms they are in, pairs of neighbouring words, and each word's groups of four characters. Each feature is hashed to one
 * component and a sign, weighted by how rare its word is and damped by its count, and the sum is scaled to length 1. The same
 * text gives the same vector on every machine. The dot product of two vectors is their cosine: 1 for the same words, about
 * 0 for texts with nothing in common (±0.05, from features that share a component).
 */

/** Components of a vector: twice as many answer no more questions of the shelf once both rankings are fused. */
export const lexicalDimension = 384;

/** Names the embedding and everything that decides its vectors. */
export const lexicalId = "lexical-3-384";

/** The weight of each kind of feature beside a word. */
const kindWeight = { word: 1, concept: 1.3, pair: 0.2, gram: 0.15 } as const;

const gramLength = 4;

/** Words of one text that count; a chunk has some 200. */
const wordsMax = 4_000;

const weights = new Map(
  commonWords.flatMap(([weight, words]) =>
    words.split(/\s+/).map((word) => [stem(word), weight / rareWeight] as const),
  ),
);

const concepts = new Map<string, number[]>();
for (const [at, set] of synonyms.entries()) {
  for (const word of set.split(" ")) {
    const name = stem(word);
    concepts.set(name, [...new Set([...(concepts.get(name) ?? []), hashOf(`=${at}`)])]);
  }
}

/** A word's features, found once: `hashes[i]` weighs `weights[i]`. */
interface WordFeatures {
  readonly hash: number;
  /** How much it says, 0–1. */
  readonly rarity: number;
  readonly hashes: readonly number[];
  readonly weights: readonly number[];
}

/** Words whose features are kept; the map starts anew when it is full. */
const knownWordsMax = 20_000;
const known = new Map<string, WordFeatures>();

/** The vector of a text: 384 components, length 1; all zero for a text without a word. */
export function lexicalVector(text: string): Float32Array {
  const counts = new Map<number, number>();
  const weightOf = new Map<number, number>();
  const add = (hash: number, weight: number) => {
    counts.set(hash, (counts.get(hash) ?? 0) + 1);
    weightOf.set(hash, weight);
  };
  let before: WordFeatures | undefined;
  for (const word of wordsOf(text).slice(0, wordsMax)) {
    const features = featuresOf(word);
    for (let at = 0; at < features.hashes.length; at++) add(features.hashes[at] ?? 0, features.weights[at] ?? 0);
    if (before !== undefined) {
      const pair = (Math.imul(before.hash, 31) + features.hash) >>> 0;
      add(pair, kindWeight.pair * Math.sqrt(before.rarity * features.rarity));
    }
    before = features;
  }
  const vector = new Float32Array(lexicalDimension);
  for (const [hash, count] of counts) {
    const mixed = mix(hash);
    const at = mixed % lexicalDimension;
    const value = (1 + Math.log(count)) * (weightOf.get(hash) ?? 0);
    vector[at] = (vector[at] ?? 0) + (mixed & 0x8000_0000 ? value : -value);
  }
  return normalise(vector);
}

/** How much a word says, 0–1: the commonest of English say nothing. */
export function rarityOf(word: string): number {
  return featuresOf(word).rarity;
}

function featuresOf(word: string): WordFeatures {
  const found = known.get(word);
  if (found !== undefined) return found;
  const base = stem(word);
  const rarity = weights.get(base) ?? 1;
  const hash = hashOf(base);
  const grams = gramsOf(base);
  const gramWeight = (kindWeight.gram * rarity * 2) / Math.max(2, Math.sqrt(grams.length));
  const sets = concepts.get(base) ?? [];
  const features = {
    hash,
    rarity,
    hashes: [hash, ...sets, ...grams],
    weights: [
      kindWeight.word * rarity,
      ...sets.map(() => kindWeight.concept * Math.max(rarity, 0.5)),
      ...grams.map(() => gramWeight),
    ],
  };
  if (known.size >= knownWordsMax) known.clear();
  known.set(word, features);
  return features;
}

/** Groups of four characters of a word with its ends marked; none for short words, which would be themselves. */
function gramsOf(word: string): number[] {
  if (word.length <= gramLength) return [];
  const marked = `^${word}$`;
  return Array.from({ length: marked.length - gramLength + 1 }, (_, at) =>
    hashOf(`#${marked.slice(at, at + gramLength)}`),
  );
}

/** Cuts the commonest endings of English, so that "restarts", "restarted" and "restarting" are one word. */
export function stem(word: string): string {
  if (word.length <= 3 || /\d/.test(word)) return word;
  if (word.endsWith("ies") && word.length > 4) return `${word.slice(0, -3)}y`;
  if (/(?:ss|x|ch|sh)es$/.test(word)) return word.slice(0, -2);
  if (word.endsWith("s") && !/(?:ss|us|is)$/.test(word)) return stem(word.slice(0, -1));
  if (word.endsWith("ing") && word.length > 5) return undouble(word.slice(0, -3));
  if (word.endsWith("ed") && word.length > 4) return undouble(word.slice(0, -2));
  if (word.endsWith("e") && word.length > 4) return word.slice(0, -1);
  return word;
}

function undouble(base: string): string {
  return /([bdgmnprt])\1$/.test(base) ? base.slice(0, -1) : base;
}

/** FNV-1a over the characters' codes. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193);
  return hash >>> 0;
}

/** Spreads a hash over all its bits, so that component and sign have nothing to do with each other. */
function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function normalise(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const value of vector) sum += value * value;
  if (sum === 0) return vector;
  const scale = 1 / Math.sqrt(sum);
  for (let at = 0; at < vector.length; at++) vector[at] = (vector[at] ?? 0) * scale;
  return vector;
}
