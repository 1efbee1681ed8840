/** Characters that are not seen, or that move others: controls but for line ends and tabs, what sets the direction of writing, joiners, halves of characters. */
const unseen = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A text as a person is shown it who decides by it: what cannot be seen is written out, such as `\u{202e}`. */
export const visible = (text: string): string =>
  text.replace(unseen, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
