/** The words anew, as wordsOf reads them by now. */
export const working004 = `
   INSERT INTO pattern_words (pattern_words) VALUES ('delete-all');
   INSERT INTO pattern_words (rowid, trigger) SELECT rowid, words(trigger) FROM patterns;`;
