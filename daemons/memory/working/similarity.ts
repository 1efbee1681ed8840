import { wordsOf } from "../words.ts";

/** Words that say nothing about a situation. */
const empty = new Set(
  "a an and are as at be by for from in into is it its of on or that the then this to was with".split(" "),
);

/** The words of a text that say something; all of them when none does. */
export function fullWordsOf(text: string): string[] {
  const words = wordsOf(text);
  const full = words.filter((word) => !empty.has(word));
  return full.length > 0 ? full : words;
}

/**
 * How alike two short descriptions are, 0 to 1: the cosine of what they share, counted in words and in the three-letter
 * pieces of the words, so that "restarted nginx" is like "restart of nginx" and unlike "restart of sshd". The order of the
 * words does not count; a number is a word.
 */
export function similarity(a: string, b: string): number {
  const [left, right] = [features(a), features(b)];
  return cosine(left, right);
}

const wordWeight = 2;

function features(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  const add = (feature: string, weight: number) => counts.set(feature, (counts.get(feature) ?? 0) + weight);
  for (const word of fullWordsOf(text)) {
    add(`=${word}`, wordWeight);
    const padded = `_${word}_`;
    const pieces = Math.max(1, padded.length - 2);
    // A long word has more pieces than a short one and is not worth more.
    for (let at = 0; at < pieces; at++) add(padded.slice(at, at + 3), wordWeight / Math.sqrt(pieces));
  }
  return counts;
}

function cosine(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let dot = 0;
  for (const [feature, weight] of a) dot += weight * (b.get(feature) ?? 0);
  const norm = Math.sqrt(squares(a) * squares(b));
  return norm === 0 ? 0 : Math.min(1, dot / norm);
}

function squares(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const weight of counts.values()) sum += weight * weight;
  return sum;
}
