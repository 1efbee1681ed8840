import { beginning } from "#lib/text";

/*
 * The words of a text as everything here that looks for words sees them: the full-text indices, the queries, the lexical
 * embedding, the likeness of patterns. One reading for all, or a query looks for words that no index holds.
 */

/** A longer word is known by its beginning: a hash, encoded data. UTF-16 units. */
const wordLengthMax = 40;

/** Scripts that are written without spaces between words, and Korean, which writes particles and names in one with them. */
const unspaced =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const unspacedRuns = new RegExp(`((?:${unspaced.source}|ー)+)`, "u");

/** A letter or digit with the marks that belong to it. */
const character = /[\p{L}\p{N}]\p{M}*/gu;

/**
 * Marks that no script owns are accents; a vowel sign of Thai or Devanagari is a letter in all but name, as is the voicing of
 * kana. The points of Hebrew are written for learners only, and the stroke that makes an Arabic word longer says nothing.
 */
const accents = /(?![\u3099\u309a])\p{Script=Inherited}|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640]/gu;

/** A picture is replaced by its number, which is a word of every index. */
const pictures = /\p{Extended_Pictographic}/gu;
const wordOfPicture = (picture: string) => ` u${picture.codePointAt(0)?.toString(16)} `;

/**
 * Lower-case words of letters, digits and the marks that are part of their script, in order. Accents are dropped, as are
 * punctuation and the difference between full and half width. A run of a script without spaces gives its pairs of neighbouring
 * characters ("磁盘满了": 磁盘, 盘满, 满了), so that a piece of a sentence is found in it. A picture is a word.
 */
export const wordsOf = (text: string): string[] => read(text, pairsOf);

/**
 * The words of a text as the full-text indices hold them, with blanks between. Of a run without spaces the last
 * character is added, so that each character begins a word: a query of one character asks for that.
 */
export const indexText = (text: string): string => read(text, pairsToTheEnd).join(" ");

/** A full-text index's query for one word. */
export function queryOf(word: string): string {
  const alone = unspaced.test(word) && word.match(character)?.length === 1;
  return `"${word.replaceAll('"', '""')}"${alone ? "*" : ""}`;
}

function read(text: string, parts: (characters: readonly string[]) => readonly string[]): string[] {
  if (/^[ -~\s]*$/.test(text)) return (text.toLowerCase().match(/[a-z0-9]+/g) ?? []).map(shorten);
  const plain = text.normalize("NFKD").replace(accents, "").normalize("NFC").replace(pictures, wordOfPicture);
  // By way of capitals, which German, Greek and Turkish letters have in common that small ones keep apart.
  const lower = plain.toUpperCase().toLowerCase();
  const pieces = (lower.match(/[\p{L}\p{N}\p{M}]+/gu) ?? []).flatMap((run) => run.split(unspacedRuns));
  return pieces.flatMap((piece) => {
    if (piece === "") return [];
    return unspaced.test(piece) ? parts(piece.match(character) ?? []) : [shorten(piece)];
  });
}

const pairsOf = (characters: readonly string[]): readonly string[] =>
  characters.length < 2 ? characters : characters.slice(1).map((one, at) => `${characters[at] ?? ""}${one}`);

const pairsToTheEnd = (characters: readonly string[]): readonly string[] =>
  characters.length < 2 ? characters : [...pairsOf(characters), characters.at(-1) ?? ""];

const shorten = (word: string): string => beginning(word, wordLengthMax).toWellFormed();
