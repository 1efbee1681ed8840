/**
 * Without an embedding model the embedding is lexical, with word frequencies that are fixed in the source. The
 * runtime's model is used as soon as it offers one, and all vectors are made again in the background.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Archive } from "./archive.ts";
import { type Embedding, lexicalEmbedding } from "./embedding.ts";
import type { Follower } from "./follower.ts";
import type { RuntimeText } from "./runtime-text.ts";
import type { Shelf } from "./shelf.ts";

/**
 * How often the runtime is asked what it embeds with: while the lexical embedding is in use, and while a model is. To be asked
 * loads the model, which is unloaded when it is idle.
 */
const askLexicalMs = 300_000;
const askModelMs = 3_600_000;

/** Texts of one call to the model. */
const togetherMax = 16;

/** Unrelated texts are as near as this in the space of a usual embedding model. */
const modelFloor = 0.3;

const idPattern = /^model:(.+):(\d+)$/;

/** The runtime's embedding model. Its vectors are of its own: another model or dimension is another embedding. */
export function modelEmbedding(model: string, dimension: number, runtime: RuntimeText): Embedding {
  return {
    id: `model:${model}:${dimension}`,
    dimension,
    floor: modelFloor,
    async embed(texts) {
      const vectors: Float32Array[] = [];
      const priority = texts.length === 1 ? "interactive" : "background";
      for (let at = 0; at < texts.length; at += togetherMax) {
        const made = await runtime.embed(texts.slice(at, at + togetherMax), priority);
        if (made.model !== model || made.vectors.some(({ length }) => length !== dimension))
          throw new AiosError("FAILED_PRECONDITION", `the runtime embeds with ${made.model} now, not with ${model}`);
        vectors.push(...made.vectors);
      }
      return vectors;
    },
  };
}

/** The embedding that the vectors were last made with. */
export function lastEmbedding(archive: Archive, runtime: RuntimeText): Embedding {
  const [, model = "", dimension = ""] = idPattern.exec(archive.indexState().embedding) ?? [];
  return model === "" ? lexicalEmbedding : modelEmbedding(model, Number(dimension), runtime);
}

interface Choice {
  readonly runtime: RuntimeText;
  readonly follower: Follower;
  readonly shelf: Shelf | undefined;
  readonly archive: Archive;
  readonly settled: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Uses the runtime's embedding model when there is one, and the lexical embedding when the runtime says that there is none.
 * A runtime that is away changes nothing.
 */
export function chooseEmbedding({ runtime, follower, shelf, archive, settled, clock, log }: Choice): AbortController {
  const ending = new AbortController();
  const run = async () => {
    await settled(ending.signal);
    for (;;) {
      const now = await askOffer(runtime);
      if (now !== undefined) follower.use(now);
      const inUse = follower.embedding();
      if (shelf !== undefined && !shelf.has(inUse)) await teach(shelf, inUse, archive, log);
      await clock.sleep(inUse === lexicalEmbedding ? askLexicalMs : askModelMs, ending.signal);
    }
  };
  run().catch((error) => {
    if (!ending.signal.aborted) log.error("the choice of an embedding ended", { error });
  });
  return ending;
}

/** The runtime's present embedding model; undefined when it does not answer. */
async function askOffer(runtime: RuntimeText): Promise<Embedding | undefined> {
  try {
    const { model, vectors } = await runtime.embed(["aiOS"], "background");
    const dimension = vectors[0]?.length ?? 0;
    return dimension === 0 ? undefined : modelEmbedding(model, dimension, runtime);
  } catch (error) {
    const none = ["UNIMPLEMENTED", "NOT_FOUND", "FAILED_PRECONDITION"];
    return error instanceof AiosError && none.includes(error.code) ? lexicalEmbedding : undefined;
  }
}

/** The image's own pieces in the model's space: made once, kept with the archive. Best effort: its words are found without. */
async function teach(shelf: Shelf, embedding: Embedding, archive: Archive, log: Log): Promise<void> {
  try {
    const kept = archive.shelfVectors(shelf.id, embedding.id);
    const missing = shelf.all().filter(({ key }) => !kept.has(key));
    const made = await embedding.embed(missing.map(({ title, body }) => `${title}\n${body}`));
    const added = new Map(missing.map(({ key }, at) => [key, made[at] ?? new Float32Array(embedding.dimension)]));
    await archive.keepShelfVectors(shelf.id, embedding.id, added);
    shelf.learn(embedding, new Map([...kept, ...added]));
    log.info("the image's knowledge has vectors of the model", { embedding: embedding.id, pieces: shelf.chunkCount });
  } catch (error) {
    log.warn("the image's knowledge has no vectors of the model yet", { embedding: embedding.id, error });
  }
}
