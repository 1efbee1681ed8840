/**
 * The vector server follows, and is never the truth. A record is acknowledged when it is in SQLite, cut into chunks
 * whose keys are never used twice. What Chroma lacks is therefore a range of keys and a list of those that are gone:
 * that is the outbox. Around each batch both sides note a mark; a server whose files are gone, or either side put back
 * to an older state, does not know the other's mark, and the vectors are made again. Counts are compared once per
 * connection.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import {
  type ChromaUrl,
  type VectorCollection,
  type VectorServer,
  type Vectors,
  vectorServer,
} from "../vectors/index.ts";
import type { Archive } from "./archive.ts";
import type { Embedding } from "./embedding.ts";
import { type Chunk, type Collection, collections, textOf } from "./records.ts";

/** The vector server follows the archive: what is stored is added to it, what is removed is removed, in the background. */
export interface Follower {
  /** The vectors that can be searched now; undefined while the server is away, or has vectors of another embedding. */
  vectors():
    | { readonly embedding: Embedding; readonly collections: ReadonlyMap<Collection, VectorCollection> }
    | undefined;
  /** Chunks that are not among the vectors yet. */
  waiting(): number;
  /** Follows with this embedding from now on; the vectors of another one are made again. */
  use(embedding: Embedding): void;
  embedding(): Embedding;
  /** A search failed on the server. */
  suspect(): void;
  stop(): Promise<void>;
}

interface FollowerOptions {
  readonly archive: Archive;
  readonly vectors: Vectors;
  readonly embedding: Embedding;
  readonly clock: Clock;
  readonly log: Log;
}

/** Chunks of one round; between two slices of it the calls have their turn. */
const roundMax = 256;
const sliceMax = 32;

/** Pause after a failure; doubles with each further one. */
const pauseMinMs = 1_000;
const pauseMaxMs = 60_000;

/** Our collections' names begin so; Chroma wants 3 to 512 of letters, digits, dots, dashes, underscores. */
const prefix = "aios-memory.";

interface Connection {
  readonly url: ChromaUrl;
  readonly server: VectorServer;
  readonly embedding: Embedding;
  readonly collections: ReadonlyMap<Collection, VectorCollection>;
  /** Nothing but the mark is in it. */
  readonly state: VectorCollection;
  /** Whether the counts were compared. */
  checked: boolean;
}

export function followArchive(options: FollowerOptions): Follower {
  const { archive, vectors, clock, log } = options;
  const ending = new AbortController();
  let embedding = options.embedding;
  let connection: Connection | undefined;
  /** Where vectors were found incomplete and made again: once is a repair, twice would be a loop. */
  let mended: ChromaUrl | undefined;
  let wake: () => void = () => {};
  let awake = new Promise<void>((resolve) => (wake = resolve));
  archive.onChange(() => wake());
  vectors.onReady(() => wake());

  const current = () => {
    const { url } = vectors.status();
    return connection !== undefined && connection.url === url && connection.embedding === embedding
      ? connection
      : undefined;
  };
  const follow = async () => {
    const { url } = vectors.status();
    if (url === undefined) return;
    if (current() === undefined) connection = await connect(archive, url, embedding, log);
    const here = current();
    if (here === undefined) return;
    for (let busy = true; busy && !ending.signal.aborted; ) busy = await round(archive, here);
    if (here.checked || ending.signal.aborted) return;
    here.checked = mended === here.url || (await complete(archive, here, log));
    if (here.checked) return;
    mended = here.url;
    connection = undefined;
    wake();
  };
  const run = async () => {
    let pauseMs = pauseMinMs;
    while (!ending.signal.aborted) {
      await awake;
      awake = new Promise((resolve) => (wake = resolve));
      try {
        if (!ending.signal.aborted) await follow();
        pauseMs = pauseMinMs;
      } catch (error) {
        if (ending.signal.aborted) return;
        log.warn("the vectors lag behind", { reason: messageOf(error), waiting: waitingOf(archive) });
        connection = undefined;
        vectors.suspect();
        await clock.sleep(pauseMs, ending.signal).catch(() => {});
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
        wake();
      }
    }
  };
  wake();
  const done = run();
  return {
    vectors: () => current(),
    waiting: () => waitingOf(archive),
    use(next) {
      if (next.id === embedding.id) return;
      log.info("another embedding: the vectors are made again", { from: embedding.id, to: next.id });
      embedding = next;
      wake();
    },
    embedding: () => embedding,
    suspect: () => vectors.suspect(),
    async stop() {
      ending.abort(new Error("aios-memory is ending"));
      wake();
      await done;
    },
  };
}

/** Opens our collections; begins anew where they are not what was last written. */
async function connect(archive: Archive, url: ChromaUrl, embedding: Embedding, log: Log): Promise<Connection> {
  const server = vectorServer(url);
  const before = archive.indexState();
  const first = await openCollections(server, embedding);
  const known = first.state.mark !== "" && [before.mark, before.nextMark].includes(first.state.mark);
  if (before.embedding === embedding.id && known) return { ...first, url, server, embedding, checked: false };
  const reason = before.embedding === embedding.id ? "the vectors are not those last written" : "there are none yet";
  log.info("the vectors are made", { reason, embedding: embedding.id, chunks: archive.countChunks() });
  await beginAnew(archive, server, embedding);
  return { ...(await openCollections(server, embedding)), url, server, embedding, checked: false };
}

/** Opens the collections that hold the vectors of an embedding, made when missing. */
export async function openCollections(
  server: VectorServer,
  { id }: Embedding,
): Promise<Pick<Connection, "collections" | "state">> {
  const name = (what: string) => `${prefix}${id.replace(/[^A-Za-z0-9]/g, "-")}.${what}`;
  const opened = new Map<Collection, VectorCollection>();
  for (const collection of collections) opened.set(collection, await server.open(name(collection)));
  return { collections: opened, state: await server.open(name("state")) };
}

/** Drops what the server has of ours, of any embedding, and forgets that it had it. */
async function beginAnew(archive: Archive, server: VectorServer, { id }: Embedding): Promise<void> {
  await archive.setIndexState({ embedding: id, upto: 0, mark: "", nextMark: "" });
  for (const name of await server.list()) if (name.startsWith(prefix)) await server.drop(name);
  for (let gone = archive.gone(1_000); gone.length > 0; gone = archive.gone(1_000))
    await archive.forget(gone.map(({ key }) => key));
}

/**
 * One round: tells the server of some chunks. Before and after it a mark is noted on both sides, so that a server that was put
 * back to an older state, or an archive that was, is found out. False when there was nothing to tell.
 */
async function round(archive: Archive, { collections: here, state, embedding }: Connection): Promise<boolean> {
  const before = archive.indexState();
  const added = archive.chunksAfter(before.upto, roundMax);
  const gone = archive.gone(roundMax);
  const begun = state.mark !== "" || before.mark !== "";
  if (added.length === 0 && gone.length === 0 && begun && before.nextMark === "") return false;
  const nextMark = randomUUID();
  await archive.setIndexState({ ...before, nextMark });
  const vectors = await embedAll(embedding, added);
  for (const [collection, keys] of byCollection(added)) {
    const list = keys.map((key) => vectors.get(key) ?? new Float32Array(embedding.dimension));
    await here.get(collection)?.add(keys, list);
  }
  for (const [collection, keys] of byCollection(gone)) await here.get(collection)?.remove(keys);
  await state.setMark(nextMark);
  const upto = added.at(-1)?.key ?? before.upto;
  await archive.setIndexState({ embedding: embedding.id, upto, mark: nextMark, nextMark: "" });
  await archive.forget(gone.map(({ key }) => key));
  return true;
}

async function embedAll(embedding: Embedding, chunks: readonly Chunk[]): Promise<Map<number, Float32Array>> {
  const vectors = new Map<number, Float32Array>();
  for (let at = 0; at < chunks.length; at += sliceMax) {
    const slice = chunks.slice(at, at + sliceMax);
    const made = await embedding.embed(slice.map(textOf));
    slice.forEach(({ key }, index) => {
      const vector = made[index] ?? new Float32Array(embedding.dimension);
      // A text without a word has no direction, and the server's cosine wants one.
      if (vector.every((value) => value === 0)) vector[0] = 1;
      vectors.set(key, vector);
    });
    await new Promise((resolve) => setImmediate(resolve));
  }
  return vectors;
}

function byCollection(chunks: readonly { key: number; collection: Collection }[]): Map<Collection, number[]> {
  const keys = new Map<Collection, number[]>();
  for (const { key, collection } of chunks) keys.set(collection, [...(keys.get(collection) ?? []), key]);
  return keys;
}

/** Whether the server has as many vectors as there are chunks. Where not, all are made again. */
async function complete(archive: Archive, { collections: here, embedding, server }: Connection, log: Log) {
  const counts = archive.countByCollection();
  const waiting = waitingOf(archive) + archive.gone(1).length;
  if (waiting > 0) return true; // more came meanwhile: the next connection counts
  for (const [collection, vectors] of here) {
    const [is, should] = [await vectors.count(), counts.get(collection) ?? 0];
    if (is === should || archive.indexState().upto < archive.lastKey() || archive.gone(1).length > 0) continue;
    log.warn("the vectors are incomplete and are made again", { collection, is, should });
    await beginAnew(archive, server, embedding);
    return false;
  }
  return true;
}

function waitingOf(archive: Archive): number {
  return archive.countAfter(archive.indexState().upto);
}
