/**
 * Measures the search of a long-term store whose daemon is stopped, and prints JSON:
 * `node daemons/memory/longterm/measure.ts LONGTERM.db VECTOR-SERVER-URL QUERIES.json`.
 * `recall`: of the ten nearest by exact comparison, the share that the vector server found. `fusedRecall`: of the ten that a
 * search with exact vectors gives, the share that the search gave. `bare`: the vector server asked alone, milliseconds, sorted.
 */
import { readFileSync } from "node:fs";
import { openDatabase } from "#lib/data/sqlite";
import { silentLog } from "#lib/log";
import { functions, longtermMigrations } from "../store/migrations/index.ts";
import { type Near, type VectorCollection, vectorServer } from "../vectors/index.ts";
import { openArchive } from "./archive.ts";
import { cosine, lexicalEmbedding } from "./embedding.ts";
import { type Follower, openCollections } from "./follower.ts";
import { lexicalVector } from "./lexical.ts";
import { type Chunk, type Collection, textOf } from "./records.ts";
import { openSearch } from "./search.ts";

const [file = "", url = "", queryFile = ""] = process.argv.slice(2);
const queries = JSON.parse(readFileSync(queryFile, "utf8")) as string[];
const count = 10;

const database = openDatabase(file, longtermMigrations, { functions });
const archive = openArchive({ database, write: async (_what, act) => act() });
const { collections } = await openCollections(vectorServer(url), lexicalEmbedding);

const placed = archive
  .chunksAfter(0, Number.MAX_SAFE_INTEGER)
  .map((chunk: Chunk) => ({ key: chunk.key, collection: chunk.collection, vector: lexicalVector(textOf(chunk)) }));

/** The truth: every vector compared. */
function exact(collection: Collection, vector: Float32Array, most: number): Near[] {
  const nearest: Near[] = [];
  for (const one of placed) {
    if (one.collection !== collection) continue;
    const distance = 1 - cosine(vector, one.vector);
    if (nearest.length === most && distance >= (nearest.at(-1)?.distance ?? 0)) continue;
    const at = nearest.findIndex((other) => other.distance > distance);
    nearest.splice(at === -1 ? nearest.length : at, 0, { key: one.key, distance });
    if (nearest.length > most) nearest.pop();
  }
  return nearest;
}

const unused = () => Promise.reject(new Error("only asked here"));
const exactly = new Map<Collection, VectorCollection>(
  [...collections].map(([name, { mark }]) => [
    name,
    {
      mark,
      add: unused,
      remove: unused,
      count: unused,
      setMark: unused,
      nearest: async (v, most) => exact(name, v, most),
    },
  ]),
);
const following = (at: ReadonlyMap<Collection, VectorCollection>): Follower => ({
  vectors: () => ({ embedding: lexicalEmbedding, collections: at }),
  waiting: () => 0,
  use: () => {},
  embedding: () => lexicalEmbedding,
  suspect: () => {},
  stop: async () => {},
});
const clock = { monotonic: () => 0 };
const searches = [collections, exactly].map((at) =>
  openSearch({ archive, shelf: undefined, follower: following(at), clock, log: silentLog }),
);

const bare: number[] = [];
let [found, fused] = [0, 0];
for (const text of queries) {
  const vector = lexicalVector(text);
  const truth = exact("knowledge", vector, count);
  const from = performance.now();
  const near = (await collections.get("knowledge")?.nearest(vector, count)) ?? [];
  bare.push(performance.now() - from);
  const last = (truth.at(-1)?.distance ?? 0) + 1e-3;
  found += near.filter(({ distance }) => distance <= last).length / truth.length;
  const query = { text, among: ["knowledge"] as const, count, relevanceMin: 0 };
  const [given, right] = await Promise.all(searches.map((search) => search(query)));
  const least = (right?.hits.at(-1)?.relevance ?? 0) - 1e-3;
  fused += (given?.hits.filter(({ relevance }) => relevance >= least).length ?? 0) / (right?.hits.length || 1);
}
database.close();
bare.sort((a, b) => a - b);
process.stdout.write(
  `${JSON.stringify({ bare, recall: found / queries.length, fusedRecall: fused / queries.length })}\n`,
);
