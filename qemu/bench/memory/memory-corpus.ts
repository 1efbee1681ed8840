/** A made-up memory: entries about subjects, in words as unevenly frequent as those of a language. The same for the same count. */
interface Corpus {
  readonly entries: readonly string[];
  /** Each some words of one entry. */
  readonly queries: readonly string[];
}

const vocabularySize = 6_000;
const subjectCount = 500;
/** Of the words of an entry, how many are its subject's. */
const subjectShare = 0.35;
const wordsOfQuery = 8;

const syllables = "ba re to mi ka lo ner sta vi con pro ter di sul fen gra po que ral ma tin se dor ul".split(" ");

export function corpusOf(entryCount: number, queryCount: number): Corpus {
  const next = random(1);
  const below = (count: number) => Math.floor(next() * count);
  const some = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const times = <T>(count: number, make: (at: number) => T) => Array.from({ length: count }, (_, at) => make(at));
  const vocabulary = times(vocabularySize, () => times(2 + below(3), () => some(syllables)).join(""));
  /** The n-th word comes up in proportion to 1 / n. */
  const word = () => vocabulary[Math.floor(Math.exp(next() * Math.log(vocabularySize))) - 1] ?? "a";
  const subjects = times(subjectCount, () => times(30, () => some(vocabulary)));
  const entries = times(entryCount, () => {
    const subject = some(subjects);
    return times(30 + below(50), () => (next() < subjectShare ? some(subject) : word())).join(" ");
  });
  const queries = times(queryCount, () => {
    const words = some(entries).split(" ");
    return times(wordsOfQuery, () => some(words)).join(" ");
  });
  return { entries, queries };
}

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
