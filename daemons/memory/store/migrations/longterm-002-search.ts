/** The tables of the search: every record's text in chunks, their words, and the outbox of the vector server. */
export const longterm002 = `
   CREATE TABLE records (
     collection TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL, metadata_json BLOB NOT NULL, stored_at INTEGER NOT NULL,
     PRIMARY KEY (collection, id)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX records_time ON records (stored_at);

   -- A record's text in pieces. A key is never used twice, and the text of a key never changes: its vector holds for ever.
   CREATE TABLE chunks (
     key INTEGER PRIMARY KEY AUTOINCREMENT, collection TEXT NOT NULL, id TEXT NOT NULL, part INTEGER NOT NULL,
     title TEXT NOT NULL, body TEXT NOT NULL,
     FOREIGN KEY (collection, id) REFERENCES records (collection, id) ON DELETE CASCADE
   ) STRICT;
   CREATE UNIQUE INDEX chunks_record ON chunks (collection, id, part);

   CREATE VIRTUAL TABLE chunk_words USING fts5 (
     title, body, collection, content = 'chunks', content_rowid = 'key', tokenize = 'porter unicode61 remove_diacritics 2'
   );

   -- The outbox of the vector server: keys above vector_index.upto are to be added, those in gone are to be removed.
   CREATE TABLE gone (key INTEGER PRIMARY KEY, collection TEXT NOT NULL) STRICT;
   CREATE TABLE vector_index (
     one INTEGER PRIMARY KEY CHECK (one = 1), embedding TEXT NOT NULL, upto INTEGER NOT NULL, mark TEXT NOT NULL, next_mark TEXT NOT NULL
   ) STRICT;

   CREATE TRIGGER chunks_added AFTER INSERT ON chunks BEGIN
     INSERT INTO chunk_words (rowid, title, body, collection) VALUES (new.key, new.title, new.body, new.collection);
   END;
   CREATE TRIGGER chunks_removed AFTER DELETE ON chunks BEGIN
     INSERT INTO chunk_words (chunk_words, rowid, title, body, collection)
       VALUES ('delete', old.key, old.title, old.body, old.collection);
     INSERT INTO gone (key, collection) VALUES (old.key, old.collection);
   END;

   -- Vectors of the image's own pieces, made by an embedding model; the lexical ones come with the image.
   CREATE TABLE shelf_vectors (
     shelf TEXT NOT NULL, embedding TEXT NOT NULL, key INTEGER NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (shelf, embedding, key)
   ) STRICT, WITHOUT ROWID;`;
