/** The words of patterns' triggers as wordsOf reads them, so that texts of every script are found. */
export const working003 = `
   DROP TRIGGER patterns_added;
   DROP TRIGGER patterns_removed;
   DROP TRIGGER patterns_reworded;
   DROP TABLE pattern_words;
   CREATE VIRTUAL TABLE pattern_words USING fts5 (
     trigger, content = 'patterns', content_rowid = 'rowid',
     tokenize = "porter unicode61 remove_diacritics 0 categories 'L* N* M* Co'"
   );
   CREATE TRIGGER patterns_added AFTER INSERT ON patterns BEGIN
     INSERT INTO pattern_words (rowid, trigger) VALUES (new.rowid, words(new.trigger));
   END;
   CREATE TRIGGER patterns_removed AFTER DELETE ON patterns BEGIN
     INSERT INTO pattern_words (pattern_words, rowid, trigger) VALUES ('delete', old.rowid, words(old.trigger));
   END;
   CREATE TRIGGER patterns_reworded AFTER UPDATE OF trigger ON patterns BEGIN
     INSERT INTO pattern_words (pattern_words, rowid, trigger) VALUES ('delete', old.rowid, words(old.trigger));
     INSERT INTO pattern_words (rowid, trigger) VALUES (new.rowid, words(new.trigger));
   END;
   INSERT INTO pattern_words (rowid, trigger) SELECT rowid, words(trigger) FROM patterns;`;
