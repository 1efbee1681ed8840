/**
 * The words of chunks as wordsOf reads them, so that texts of every script are found. `words` is a function of this program
 * (see functions in migrations.ts).
 */
export const longterm003 = `
   DROP TRIGGER chunks_added;
   DROP TRIGGER chunks_removed;
   DROP TABLE chunk_words;
   CREATE VIRTUAL TABLE chunk_words USING fts5 (
     title, body, collection, content = 'chunks', content_rowid = 'key',
     tokenize = "porter unicode61 remove_diacritics 0 categories 'L* N* M* Co'"
   );
   CREATE TRIGGER chunks_added AFTER INSERT ON chunks BEGIN
     INSERT INTO chunk_words (rowid, title, body, collection)
       VALUES (new.key, words(new.title), words(new.body), new.collection);
   END;
   CREATE TRIGGER chunks_removed AFTER DELETE ON chunks BEGIN
     INSERT INTO chunk_words (chunk_words, rowid, title, body, collection)
       VALUES ('delete', old.key, words(old.title), words(old.body), old.collection);
     INSERT INTO gone (key, collection) VALUES (old.key, old.collection);
   END;
   INSERT INTO chunk_words (rowid, title, body, collection)
     SELECT key, words(title), words(body), collection FROM chunks;`;
