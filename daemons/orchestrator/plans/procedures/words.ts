/** Words that say nothing of what is to be done. */
const small = new Set(
  "a an and as at be by for from if in into is it its me my of on or our out please so that the their them then this to up with you your".split(
    " ",
  ),
);

/** The words of a text, without the small ones, plurals as the one. */
export function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z][a-z0-9_]+/g) ?? [];
  return words.filter((word) => !small.has(word)).map((word) => (word.length > 3 ? word.replace(/s$/, "") : word));
}
