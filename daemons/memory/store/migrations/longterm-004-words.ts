/** The words anew, as wordsOf reads them by now. */
export const longterm004 = `
   INSERT INTO chunk_words (chunk_words) VALUES ('delete-all');
   INSERT INTO chunk_words (rowid, title, body, collection)
     SELECT key, words(title), words(body), collection FROM chunks;`;
