import type { Sqlite } from "#lib/data/sqlite";
import { queryOf, wordsOf } from "../words.ts";
import { rarityOf, stem } from "./lexical.ts";
import type { Collection } from "./records.ts";

/** A chunk that has words of the query. */
export interface TextHit {
  readonly key: number;
  /**
   * Which share of the query the chunk has, 0–1: the sum of bm25 over the query's words, each weighing by how rare it is in
   * this database, divided by what a chunk of usual length has that contains every word of the query about twice.
   */
  readonly score: number;
}

/** Ranks chunks by the words they share with a query. */
export interface TextRank {
  /** The best first; of the collections named, or (none) of all. */
  search(query: string, among: readonly Collection[], limit: number): TextHit[];
}

/** Words of a query that count, the rarest; a longer text says no more. */
const wordsMax = 32;

/** Words looked up to find these. */
const lookedUpMax = 200;

/** Rows that one search may rank. Beyond it the commonest words are left out, and at last the oldest chunks. */
const rowsMax = 6_000;

/** bm25 of a word that a chunk of usual length has about twice, in units of the word's rarity. */
const fullScore = 1.5;

/** A word of a title counts as this many in the text. */
const titleWeight = 2;

/** The words that questions are made of say nothing about their answers, unless there are no others. */
const sayingLeast = 0.12;

/** Word counts are remembered until this much has changed. */
const growthMax = 1.1;
const rememberedMax = 20_000;

interface Term {
  readonly word: string;
  readonly rows: number;
  readonly rarity: number;
}

/** Reads `chunk_words` and `chunks` of a database. */
export function openTextRank(database: Sqlite): TextRank {
  const count = database.prepare<[], number>("SELECT count(*) FROM chunks").pluck();
  const last = database.prepare<[], number | null>("SELECT max(key) FROM chunks").pluck();
  const rowsOf = database
    .prepare<[string], number>("SELECT count(*) FROM chunk_words WHERE chunk_words MATCH ?")
    .pluck();
  const ranked = database.prepare<[string, number, number], { key: number; rank: number }>(
    `SELECT rowid AS key, -bm25(chunk_words, ${titleWeight}, 1, 0) AS rank FROM chunk_words
     WHERE chunk_words MATCH ? AND rowid > ? ORDER BY bm25(chunk_words, ${titleWeight}, 1, 0) LIMIT ?`,
  );
  let rows = 0;
  let looks = 0;
  const remembered = new Map<string, number>();
  const total = () => {
    // Counting reads the whole table: now and then is enough, since only proportions matter.
    if (looks++ % 256 === 0 || rows < 1_000) {
      const now = count.get() ?? 0;
      if (now > rows * growthMax || now * growthMax < rows || remembered.size > rememberedMax) remembered.clear();
      rows = now;
    }
    return rows;
  };
  const occurrences = (word: string) => {
    const known = remembered.get(word);
    if (known !== undefined) return known;
    const found = rowsOf.get(`{title body} : ${queryOf(word)}`) ?? 0;
    remembered.set(word, found);
    return found;
  };
  return {
    search(query, among, limit) {
      const all = total();
      if (all === 0) return [];
      const terms = telling(query).map((word): Term => {
        const found = occurrences(word);
        return { word, rows: found, rarity: Math.max(1e-6, Math.log((all - found + 0.5) / (found + 0.5))) };
      });
      const wanted = terms.toSorted((a, b) => b.rarity - a.rarity).slice(0, wordsMax);
      const used = affordable(wanted);
      const [rarest] = used;
      if (rarest === undefined) return [];
      const full = fullScore * wanted.reduce((sum, { rarity }) => sum + rarity, 0);
      const after = rarest.rows > rowsMax ? (last.get() ?? 0) - Math.floor((all * rowsMax) / rarest.rows) : 0;
      return ranked
        .all(expression(used, among), after, limit)
        .map(({ key, rank }) => ({ key, score: Math.min(1, rank / full) }));
    },
  };
}

/** The words of a query that tell what it is about; all of them when none does. */
function telling(query: string): string[] {
  const byStem = new Map<string, string>();
  for (const word of wordsOf(query)) {
    if (byStem.size >= lookedUpMax) break;
    if (!byStem.has(stem(word))) byStem.set(stem(word), word);
  }
  const words = [...byStem.values()];
  const some = words.filter((word) => rarityOf(word) > sayingLeast);
  return some.length > 0 ? some : words;
}

/** Rarest first, as many as fit into {@link rowsMax}; the first one in any case. */
function affordable(terms: readonly Term[]): Term[] {
  const there = terms.filter(({ rows }) => rows > 0);
  let sum = 0;
  return there.filter(({ rows }, at) => {
    sum += rows;
    return at === 0 || sum <= rowsMax;
  });
}

function expression(terms: readonly Term[], among: readonly Collection[]): string {
  const words = `{title body} : (${terms.map(({ word }) => queryOf(word)).join(" OR ")})`;
  return among.length === 0 ? words : `${words} AND collection : (${among.map(quote).join(" OR ")})`;
}

const quote = (name: Collection) => `"${name}"`;
