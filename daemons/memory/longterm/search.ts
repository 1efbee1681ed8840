/**
 * A search that gets no vectors within a second is answered by text and says so.
 */
import { callAfter } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { wordsOf } from "../words.ts";
import type { Archive } from "./archive.ts";
import { closeness, cosine, type Embedding } from "./embedding.ts";
import type { Follower } from "./follower.ts";
import { type Candidate, candidates, relevanceOf, type VectorHit } from "./fusion.ts";
import { type Chunk, type Collection, collections, textOf } from "./records.ts";
import type { Shelf } from "./shelf.ts";
import { openTextRank, type TextRank } from "./text-rank.ts";

/** A piece of a record that was found. */
export interface Hit extends Chunk {
  /** 0–1, see relevanceOf. */
  readonly relevance: number;
  readonly metadataJson: Buffer;
  /** Milliseconds since the epoch; 0 for what the image carries. */
  readonly storedAt: number;
}

interface Query {
  readonly text: string;
  /** None = all. */
  readonly among: readonly Collection[];
  readonly count: number;
  readonly relevanceMin: number;
  /** Several pieces of one record may be found; otherwise its best. */
  readonly pieces?: boolean;
  /** Leaves out one of the rankings: for measuring what each is worth. */
  readonly only?: "text" | "vectors";
}

export interface Found {
  /** Best first. */
  readonly hits: Hit[];
  readonly ranking: "fused" | "text";
  /** Why something may be lacking; "" when nothing is. */
  readonly note: string;
}

export type Search = (query: Query) => Promise<Found>;

/** How far down each ranking is looked. */
const depth = 50;

/**
 * Of what the text alone brought up, how many are compared with the query's vector, where that is done here: it takes 90 µs each.
 * What is further down in one ranking and not in the other at all is hardly among the best of both.
 */
const lookedAtMax = 20;

/** An embedding model that does not answer within this is left out. */
const embedTimeoutMs = 1_000;

/** At most this often the log says that vectors are lacking. */
const warnEveryMs = 60_000;

interface SearchParts {
  readonly archive: Archive;
  readonly shelf: Shelf | undefined;
  readonly follower: Follower;
  readonly clock: { monotonic(): number };
  readonly log: Log;
}

/** A place with chunks, and how near one of them is to the query, where that can be told at once. */
interface Source {
  readonly words: TextRank;
  readonly chunks: (keys: readonly number[]) => Chunk[];
  readonly record: Archive["record"];
  readonly cosineOf: (key: number, embedding: Embedding, vector: Float32Array) => number | undefined;
}

/** Hybrid search over the archive and the shelf: see relevanceOf for how the two rankings become one. */
export function openSearch({ archive, shelf, follower, clock, log }: SearchParts): Search {
  const archived: Source = {
    ...archive,
    words: openTextRank(archive.database),
    cosineOf(key, { embedNow }, vector) {
      const [chunk] = embedNow === undefined ? [] : archive.chunks([key]);
      return chunk === undefined ? undefined : cosine(vector, embedNow?.(textOf(chunk)) ?? vector);
    },
  };
  let warnedMs = Number.NEGATIVE_INFINITY;
  const lack = (reason: string) => {
    if (reason === "" || clock.monotonic() - warnedMs < warnEveryMs) return;
    warnedMs = clock.monotonic();
    log.warn("a search was answered without all vectors", { reason });
  };
  return async (query) => {
    const among = query.among.length === 0 ? collections : query.among;
    const embedding = follower.embedding();
    const { vector, problem } = query.only === "text" ? {} : await vectorOf(query.text, embedding);
    const searched = { query, embedding, vector };
    const far = vector === undefined ? {} : await farVectors(archive, follower, vector, among);
    const near = vector === undefined ? undefined : nearVectors(shelf, embedding, vector, among);
    const scored = [...from(archived, far.hits, searched), ...(shelf === undefined ? [] : from(shelf, near, searched))];
    const note = query.only === "text" ? "" : (problem ?? far.problem ?? waiting(follower));
    lack(note);
    const fused = far.hits !== undefined && (shelf === undefined || near !== undefined);
    return { hits: best(scored, query), ranking: fused ? "fused" : "text", note };
  };
}

interface Searched {
  readonly query: Query;
  readonly embedding: Embedding;
  readonly vector: Float32Array | undefined;
}

/** A chunk by its place and key, and what it is worth. */
interface Scored {
  readonly source: Source;
  readonly key: number;
  readonly relevance: number;
}

/** The hits of one source. Without any vectors the relevance is the text's. */
function from(
  source: Source,
  vectors: readonly VectorHit[] | undefined,
  { query, embedding, vector }: Searched,
): Scored[] {
  const text = query.only === "vectors" ? [] : source.words.search(query.text, query.among, depth);
  const blind = vectors === undefined && (vector === undefined || embedding.embedNow === undefined);
  if (blind) return text.map(({ key, score }) => ({ source, key, relevance: score }));
  const looked = new Set((vectors === undefined ? text : text.slice(0, lookedAtMax)).map(({ key }) => key));
  const known = (key: number) => {
    const found = vector === undefined || !looked.has(key) ? undefined : source.cosineOf(key, embedding, vector);
    return found === undefined ? undefined : closeness(found, embedding);
  };
  return candidates(text, vectors ?? [], depth, known).map((one) => ({
    source,
    key: one.key,
    relevance: scoreOf(one, query.only),
  }));
}

function scoreOf(candidate: Candidate, only: Query["only"]): number {
  return only === "vectors" ? candidate.vector : relevanceOf(candidate);
}

/** The query's vector; a query without a word has none. */
async function vectorOf(text: string, embedding: Embedding): Promise<{ vector?: Float32Array; problem?: string }> {
  if (wordsOf(text).length === 0) return {};
  if (embedding.embedNow !== undefined) return { vector: embedding.embedNow(text) };
  try {
    const late = new Promise<never>((_, reject) => {
      callAfter(embedTimeoutMs, () => reject(new Error(`no answer within ${embedTimeoutMs} ms`)), "unheld");
    });
    const [vector] = await Promise.race([embedding.embed([text]), late]);
    return vector === undefined ? {} : { vector };
  } catch (error) {
    return { problem: `without vectors: the embedding model ${embedding.id}: ${messageOf(error)}` };
  }
}

/** Asks the vector server. */
async function farVectors(
  archive: Archive,
  follower: Follower,
  vector: Float32Array,
  among: readonly Collection[],
): Promise<{ hits?: VectorHit[]; problem?: string }> {
  if (!among.some(archive.hasAny)) return { hits: [] };
  const there = follower.vectors();
  if (there === undefined) return { problem: "without vectors: the vector server is not ready" };
  try {
    const asked = among.filter(archive.hasAny);
    const found = await Promise.all(asked.map((name) => there.collections.get(name)?.nearest(vector, depth) ?? []));
    const hits = found
      .flat()
      .sort((a, b) => a.distance - b.distance)
      .slice(0, depth)
      .map(({ key, distance }) => ({ key, score: closeness(1 - distance, there.embedding) }));
    return { hits };
  } catch (error) {
    follower.suspect();
    return { problem: `without vectors: the vector server: ${messageOf(error)}` };
  }
}

function nearVectors(
  shelf: Shelf | undefined,
  embedding: Embedding,
  vector: Float32Array,
  among: readonly Collection[],
): VectorHit[] | undefined {
  if (shelf === undefined || !shelf.has(embedding)) return undefined;
  return shelf
    .nearest(embedding, vector, among, depth)
    .map(({ key, distance }) => ({ key, score: closeness(1 - distance, embedding) }));
}

function waiting(follower: Follower): string {
  const count = follower.waiting();
  return count === 0 ? "" : `${count} pieces are found by their text only: their vectors are being made`;
}

/** The best that are there, read one after the other until there are enough. */
function best(scored: readonly Scored[], { count, relevanceMin, pieces = false }: Query): Hit[] {
  const seen = new Set<string>();
  const hits: Hit[] = [];
  for (const { source, key, relevance } of scored.toSorted((a, b) => b.relevance - a.relevance)) {
    if (hits.length === count || relevance <= 0 || relevance < relevanceMin) break;
    const [chunk] = source.chunks([key]);
    // A key that has no chunk was removed since: the vector server will hear of it.
    if (chunk === undefined) continue;
    const { collection, id, part } = chunk;
    const name = JSON.stringify(pieces ? [collection, id, part] : [collection, id]);
    const record = seen.has(name) ? undefined : source.record(collection, id);
    if (record === undefined) continue;
    seen.add(name);
    hits.push({ ...chunk, ...record, relevance });
  }
  return hits;
}
