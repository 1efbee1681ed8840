import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Vectors } from "../vectors/index.ts";
import type { Archive } from "./archive.ts";
import type { SearchTier } from "./calls.ts";
import { chooseEmbedding, lastEmbedding } from "./chosen-embedding.ts";
import { followArchive } from "./follower.ts";
import type { RuntimeText } from "./runtime-text.ts";
import { openSearch } from "./search.ts";
import { openShelf, type Shelf } from "./shelf.ts";
import { tokenCounter } from "./tokens.ts";

interface TierOptions {
  readonly archive: Archive;
  readonly vectors: Vectors;
  readonly runtime: RuntimeText;
  /** The image's own knowledge. */
  readonly shelfFile: string;
  readonly settled: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Everything that searches the long-term memory and the image's knowledge. */
export function openTier({ archive, vectors, runtime, shelfFile, settled, clock, log }: TierOptions) {
  const shelf = shelfIn(shelfFile, log);
  const follower = followArchive({ archive, vectors, embedding: lastEmbedding(archive, runtime), clock, log });
  const choosing = chooseEmbedding({ runtime, follower, shelf, archive, settled, clock, log });
  const tier: SearchTier = {
    archive,
    shelf,
    follower,
    search: openSearch({ archive, shelf, follower, clock, log }),
    count: tokenCounter(bareTokens(runtime), clock),
  };
  return {
    ...tier,
    /** To be called before the archive's store is closed. */
    async stop() {
      choosing.abort(new Error("aios-memory is ending"));
      await follower.stop();
      shelf?.close();
    },
  };
}

/** A damaged shelf costs the image's knowledge, not the memory. */
function shelfIn(file: string, log: Log): Shelf | undefined {
  try {
    return openShelf(file);
  } catch (error) {
    log.error("the image's knowledge cannot be read: searches go on without it", { file, error });
    return undefined;
  }
}

/** Tokens of a text without those that the chat format puts around every prompt; these are counted once. */
function bareTokens(runtime: RuntimeText): (text: string) => Promise<number> {
  let around: number | undefined;
  return async (text) => {
    // A sign that is one token in every tokenizer.
    around ??= Math.max(0, (await runtime.countTokens(".")) - 1);
    return Math.max(1, (await runtime.countTokens(text)) - around);
  };
}
