import type { Sqlite } from "#lib/data/sqlite";
import { chunked } from "./chunks.ts";
import type { Document } from "./longterm.ts";
import type { Chunk, Collection, LongRecord } from "./records.ts";

/** Where the archive keeps itself: a database and its durable writes. */
interface ArchiveStore {
  readonly database: Sqlite;
  /** Runs `act` in a transaction; resolves when it is on disk. */
  write<T>(what: string, act: () => T): Promise<T>;
}

/** The vector server's content, as this side knows it. */
interface IndexState {
  readonly embedding: string;
  /** Chunks up to this key are among the vectors. */
  readonly upto: number;
  /** The mark that the server was last told to remember, and what it may have been told since. */
  readonly mark: string;
  readonly nextMark: string;
}

/** The long-term memory's truth: records, their chunks, and what the vector server has yet to learn. */
export interface Archive {
  readonly database: Sqlite;
  /** Adds a record, or replaces the one with its id. Chunks whose text stays are left alone. Resolves when it is on disk. */
  put(record: LongRecord): Promise<void>;
  /** The same within a transaction of the caller's. */
  add(record: LongRecord): void;
  /** The same for what another write of this database stores: to be called within its transaction. */
  index(document: Document): void;
  /** False when there is none. */
  remove(collection: Collection, id: string): Promise<boolean>;
  /** The chunks that are there, in no order. */
  chunks(keys: readonly number[]): Chunk[];
  /** As JSON, and when it was stored. */
  record(collection: Collection, id: string): { metadataJson: Buffer; storedAt: number } | undefined;
  /** Of all collections together. */
  countChunks(): number;
  /** Chunks after a key, in its order. */
  chunksAfter(key: number, limit: number): Chunk[];
  countAfter(key: number): number;
  hasAny(collection: Collection): boolean;
  /** How many chunks each collection has. */
  countByCollection(): Map<Collection, number>;
  lastKey(): number;
  gone(limit: number): { key: number; collection: Collection }[];
  indexState(): IndexState;
  setIndexState(state: IndexState): Promise<void>;
  /** Forgets what has been removed from the vectors. */
  forget(keys: readonly number[]): Promise<void>;
  /** Vectors of the image's pieces by an embedding model. */
  shelfVectors(shelf: string, embedding: string): Map<number, Float32Array>;
  /** Adds some, and removes those of other shelves and embeddings. */
  keepShelfVectors(shelf: string, embedding: string, vectors: ReadonlyMap<number, Float32Array>): Promise<void>;
  /** Called after each change. */
  onChange(listener: () => void): void;
}

/** Opens the archive in the long-term database. */
export function openArchive(store: ArchiveStore): Archive {
  const { database } = store;
  const listeners: (() => void)[] = [];
  const puts = recordWrites(database);
  const reads = chunkReads(database);
  const state = database.prepare<[], IndexState>(
    "SELECT embedding, upto, mark, next_mark AS nextMark FROM vector_index WHERE one = 1",
  );
  const setState = database.prepare<IndexState>(
    `INSERT INTO vector_index (one, embedding, upto, mark, next_mark) VALUES (1, @embedding, @upto, @mark, @nextMark)
     ON CONFLICT (one) DO UPDATE SET embedding = @embedding, upto = @upto, mark = @mark, next_mark = @nextMark`,
  );
  const forget = database.prepare<[number]>("DELETE FROM gone WHERE key = ?");
  const tell = () => {
    for (const listener of listeners) listener();
  };
  const change = async <T>(what: string, act: () => T): Promise<T> => {
    const result = await store.write(what, act);
    tell();
    return result;
  };
  return {
    database,
    ...reads,
    put: (record) => change(`${record.collection} ${record.id}`, () => puts.put(record)),
    add: puts.put,
    index({ collection, id, content, metadata, timestamp }) {
      puts.put({
        collection,
        id,
        title: titleOf(metadata),
        body: content,
        metadata: { ...metadata },
        storedAt: timestamp,
      });
      // Told when the transaction is over: listeners read later.
      setImmediate(tell);
    },
    remove: (collection, id) => change(`${collection} ${id}`, () => puts.remove(collection, id)),
    indexState: () => state.get() ?? { embedding: "", upto: 0, mark: "", nextMark: "" },
    setIndexState: (next) => store.write("the state of the vectors", () => void setState.run(next)),
    forget: (keys) =>
      store.write("what the vectors have lost", () => {
        for (const key of keys) forget.run(key);
      }),
    ...shelfVectors(store),
    onChange: (listener) => void listeners.push(listener),
  };
}

function shelfVectors({ database, write }: ArchiveStore): Pick<Archive, "shelfVectors" | "keepShelfVectors"> {
  const read = database.prepare<[string, string], { key: number; vector: Buffer }>(
    "SELECT key, vector FROM shelf_vectors WHERE shelf = ? AND embedding = ?",
  );
  const drop = database.prepare<[string, string]>("DELETE FROM shelf_vectors WHERE shelf <> ? OR embedding <> ?");
  const add = database.prepare(
    "INSERT OR REPLACE INTO shelf_vectors (shelf, embedding, key, vector) VALUES (?, ?, ?, ?)",
  );
  return {
    shelfVectors: (shelf, embedding) =>
      new Map(
        read.all(shelf, embedding).map(({ key, vector }) => [key, new Float32Array(Uint8Array.from(vector).buffer)]),
      ),
    keepShelfVectors: (shelf, embedding, vectors) =>
      write("vectors of the image's knowledge", () => {
        drop.run(shelf, embedding);
        for (const [key, vector] of vectors) add.run(shelf, embedding, key, Buffer.from(vector.buffer));
      }),
  };
}

/** The name that a document's metadata give it. */
function titleOf(metadata: object): string {
  const { title, name, filePath } = metadata as Readonly<Record<string, unknown>>;
  return [title, name, filePath].find((text): text is string => typeof text === "string" && text !== "") ?? "";
}

function recordWrites(database: Sqlite) {
  const record = database.prepare(
    `INSERT INTO records (collection, id, title, metadata_json, stored_at) VALUES (@collection, @id, @title, @metadata, @storedAt)
     ON CONFLICT (collection, id) DO UPDATE SET title = @title, metadata_json = @metadata, stored_at = @storedAt`,
  );
  const remove = database.prepare<[string, string]>("DELETE FROM records WHERE collection = ? AND id = ?");
  const there = database.prepare<[string, string], Chunk>(
    "SELECT key, part, title, body FROM chunks WHERE collection = ? AND id = ? ORDER BY part",
  );
  const drop = database.prepare<[number]>("DELETE FROM chunks WHERE key = ?");
  const add = database.prepare(
    "INSERT INTO chunks (collection, id, part, title, body) VALUES (@collection, @id, @part, @title, @body)",
  );
  return {
    put({ collection, id, title, body, metadata, storedAt }: LongRecord) {
      record.run({ collection, id, title, metadata: Buffer.from(JSON.stringify(metadata)), storedAt });
      const bodies = chunked(body);
      if (bodies.length === 0) bodies.push("");
      const kept = new Set<number>();
      for (const old of there.all(collection, id)) {
        if (old.title === title && old.body === bodies[old.part]) kept.add(old.part);
        else drop.run(old.key);
      }
      bodies.forEach((text, part) => {
        if (!kept.has(part)) add.run({ collection, id, part, title, body: text });
      });
    },
    remove: (collection: Collection, id: string) => remove.run(collection, id).changes > 0,
  };
}

const chunkColumns = "key, collection, id, part, title, body";

function chunkReads(database: Sqlite) {
  const one = database.prepare<[number], Chunk>(`SELECT ${chunkColumns} FROM chunks WHERE key = ?`);
  const record = database.prepare<[string, string], { metadataJson: Buffer; storedAt: number }>(
    "SELECT metadata_json AS metadataJson, stored_at AS storedAt FROM records WHERE collection = ? AND id = ?",
  );
  const after = database.prepare<[number, number], Chunk>(
    `SELECT ${chunkColumns} FROM chunks WHERE key > ? ORDER BY key LIMIT ?`,
  );
  const count = database.prepare<[], number>("SELECT count(*) FROM chunks").pluck();
  const countAfter = database.prepare<[number], number>("SELECT count(*) FROM chunks WHERE key > ?").pluck();
  const any = database.prepare<[string], number>("SELECT 1 FROM chunks WHERE collection = ? LIMIT 1").pluck();
  const counts = database.prepare<[], { collection: Collection; count: number }>(
    "SELECT collection, count(*) AS count FROM chunks GROUP BY collection",
  );
  const last = database.prepare<[], number | null>("SELECT max(key) FROM chunks").pluck();
  const gone = database.prepare<[number], { key: number; collection: Collection }>(
    "SELECT key, collection FROM gone ORDER BY key LIMIT ?",
  );
  return {
    chunks: (keys: readonly number[]) => keys.flatMap((key) => one.get(key) ?? []),
    record: (collection: Collection, id: string) => record.get(collection, id),
    countChunks: () => count.get() ?? 0,
    chunksAfter: (key: number, limit: number) => after.all(key, limit),
    hasAny: (collection: Collection) => any.get(collection) !== undefined,
    countAfter: (key: number) => countAfter.get(key) ?? 0,
    countByCollection: () => new Map(counts.all().map((row) => [row.collection, row.count])),
    lastKey: () => last.get() ?? 0,
    gone: (limit: number) => gone.all(limit),
  };
}
