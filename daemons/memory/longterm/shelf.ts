import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import type { Sqlite } from "#lib/data/sqlite";
import type { Near } from "../vectors/index.ts";
import { cosine, type Embedding } from "./embedding.ts";
import type { Chunk, Collection } from "./records.ts";
import { openTextRank, type TextRank } from "./text-rank.ts";

/**
 * The image's own knowledge: help, tools, procedures, manuals. A database that is only read, with the words and the
 * vectors made when the image was built. It is some hundred chunks, so its vectors are compared one by one, in this
 * process: the first boot pays nothing, no vector server is waited for, and a new image brings a new shelf.
 */
export interface Shelf {
  /** Names its content. */
  readonly id: string;
  readonly chunkCount: number;
  readonly words: TextRank;
  chunks(keys: readonly number[]): Chunk[];
  record(collection: Collection, id: string): { metadataJson: Buffer; storedAt: number } | undefined;
  all(): Chunk[];
  /** Whether there are vectors of this embedding. */
  has(embedding: Embedding): boolean;
  /** The nearest first; none when there are no vectors of this embedding. */
  nearest(embedding: Embedding, vector: Float32Array, among: readonly Collection[], count: number): Near[];
  /** Of a chunk; undefined when there are no vectors of this embedding. */
  cosineOf(key: number, embedding: Embedding, vector: Float32Array): number | undefined;
  /** Vectors of another embedding than the image's own, by key. */
  learn(embedding: Embedding, vectors: ReadonlyMap<number, Float32Array>): void;
  close(): void;
}

/** Tables of the shelf beside those of the long-term store's search. */
export const shelfTables = `
  CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE vectors (key INTEGER PRIMARY KEY, scale REAL NOT NULL, vector BLOB NOT NULL) STRICT;`;

interface Placed {
  readonly key: number;
  readonly collection: Collection;
  readonly vector: Float32Array;
}

/** Opens the shelf in a file; undefined when the image carries none. */
export function openShelf(path: string): Shelf | undefined {
  if (!existsSync(path)) return undefined;
  const database = new Database(path, { readonly: true });
  const about = (name: string) =>
    database.prepare<[string], string>("SELECT value FROM about WHERE name = ?").pluck().get(name) ?? "";
  const columns = "key, collection, id, part, title, body";
  const one = database.prepare<[number], Chunk>(`SELECT ${columns} FROM chunks WHERE key = ?`);
  const every = database.prepare<[], Chunk>(`SELECT ${columns} FROM chunks ORDER BY key`);
  const record = database.prepare<[string, string], { metadataJson: Buffer; storedAt: number }>(
    "SELECT metadata_json AS metadataJson, stored_at AS storedAt FROM records WHERE collection = ? AND id = ?",
  );
  const chunkCount = database.prepare<[], number>("SELECT count(*) FROM chunks").pluck().get() ?? 0;
  const own = about("embedding");
  const learned = new Map<string, readonly Placed[]>();
  const byKey = new Map<string, ReadonlyMap<number, Float32Array>>();
  const vectorsOf = (id: string) => {
    if (id === own && !learned.has(id)) learned.set(id, readVectors(database));
    return learned.get(id) ?? [];
  };
  return {
    id: about("id"),
    chunkCount,
    words: openTextRank(database),
    chunks: (keys) => keys.flatMap((key) => one.get(key) ?? []),
    record: (collection, id) => record.get(collection, id),
    all: () => every.all(),
    has: ({ id }) => id === own || learned.has(id),
    nearest: ({ id }, vector, among, count) =>
      vectorsOf(id)
        .filter(({ collection }) => among.includes(collection))
        .map((placed) => ({ key: placed.key, distance: 1 - cosine(vector, placed.vector) }))
        .sort((a, b) => a.distance - b.distance)
        .slice(0, count),
    cosineOf(key, { id }, vector) {
      const known = byKey.get(id) ?? new Map(vectorsOf(id).map((placed) => [placed.key, placed.vector]));
      byKey.set(id, known);
      const found = known.get(key);
      return found === undefined ? undefined : cosine(vector, found);
    },
    learn({ id }, vectors) {
      byKey.delete(id);
      learned.set(
        id,
        every.all().flatMap(({ key, collection }) => {
          const vector = vectors.get(key);
          return vector === undefined ? [] : [{ key, collection, vector }];
        }),
      );
    },
    close: () => void database.close(),
  };
}

function readVectors(database: Sqlite): Placed[] {
  const rows = database
    .prepare<[], { key: number; collection: Collection; scale: number; vector: Buffer }>(
      "SELECT key, collection, scale, vector FROM vectors JOIN chunks USING (key) ORDER BY key",
    )
    .all();
  return rows.map(({ key, collection, scale, vector }) => ({ key, collection, vector: unpack(vector, scale) }));
}

/** A vector in a byte a component, and what a step of it is worth. */
export function pack(vector: Float32Array): { bytes: Buffer; scale: number } {
  const scale = Math.max(...vector.map(Math.abs)) / 127 || 1;
  return { bytes: Buffer.from(Int8Array.from(vector, (value) => Math.round(value / scale)).buffer), scale };
}

function unpack(bytes: Buffer, scale: number): Float32Array {
  return Float32Array.from(new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length), (value) => value * scale);
}
