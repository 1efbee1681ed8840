import { beginning } from "#lib/text";

/*
 * The words of a text as everything here that looks for words sees them: the full-text indices, the queries, the lexical
 * embedding, the likeness of patterns. One reading for all, or a query looks for words that no index holds.
 */

/** A longer word is known by its beginning: a hash, encoded data. UTF-16 units. */
const wordLengthMax = 40;

/** Scripts that are written without spaces between words. */
const unspaced =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const unspacedRuns = new RegExp(`((?:${unspaced.source}|ー)+)`, "u");

/** A letter or digit with the marks that belong to it. */
const character = /[\p{L}\p{N}]\p{M}*/gu;

/**
 * Lower-case words of letters, digits and the marks that are part of their script, in order. Accents are dropped, as are
 * punctuation and the difference between full and half width. A run of a script without spaces gives its pairs of neighbouring
 * characters ("磁盘满了": 磁盘, 盘满, 满了), so that a piece of a sentence is found in it.
 */
export function wordsOf(text: string): string[] {
  if (/^[ -~\s]*$/.test(text)) return (text.toLowerCase().match(/[a-z0-9]+/g) ?? []).map(bounded);
  // Marks that no script owns are accents; a vowel sign of Thai or Devanagari is a letter in all but name.
  const plain = text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .normalize("NFC")
    .toLowerCase();
  return (plain.match(/[\p{L}\p{N}\p{M}]+/gu) ?? []).flatMap((run) =>
    unspaced.test(run) ? run.split(unspacedRuns).flatMap(parts) : bounded(run),
  );
}

/** What the full-text indices hold of a text: its words, with blanks between. */
export const indexed = (text: string): string => wordsOf(text).join(" ");

function parts(piece: string): string[] {
  if (piece === "") return [];
  if (!unspaced.test(piece)) return [bounded(piece)];
  const characters = piece.match(character) ?? [];
  return characters.length < 2 ? characters : characters.slice(1).map((one, at) => `${characters[at] ?? ""}${one}`);
}

const bounded = (word: string): string => beginning(word, wordLengthMax).toWellFormed();
