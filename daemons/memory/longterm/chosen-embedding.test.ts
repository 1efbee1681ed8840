import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { AIRuntimeService } from "#proto/aios/runtime";
import { writeShelf } from "../shelve/write.ts";
import { functions, longtermMigrations } from "../store/migrations/migrations.ts";
import { type Archive, openArchive } from "./archive.ts";
import { chooseEmbedding, lastEmbedding, modelEmbedding } from "./chosen-embedding.ts";
import { type Embedding, lexicalEmbedding } from "./embedding.ts";
import type { Follower } from "./follower.ts";
import { type RuntimeText, runtimeText } from "./runtime-text.ts";
import { openSearch } from "./search.ts";
import { openShelf, type Shelf } from "./shelf.ts";

let folder: string;
let runtime: RuntimeText;
let shelf: Shelf;
let archive: Archive;
let database: Sqlite;
let end: () => void;
/** What the runtime does. */
let model: { name: string; dimension: number } | "none" | "away";
let embedded: number;

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-embedding-");
  model = "none";
  embedded = 0;
  const calls = service(AIRuntimeService, {
    embed: ({ texts }) => {
      if (model === "away") throw new AiosError("UNAVAILABLE", "starting");
      if (model === "none") throw new AiosError("FAILED_PRECONDITION", "no embedding model is configured");
      const { name, dimension } = model;
      embedded += texts.length;
      const embeddings = texts.map((text) => ({ values: [...letters(text, dimension)] }));
      return { embeddings, modelUsed: name, tokensUsed: 0 };
    },
    countTokens: ({ prompt }) => ({ tokens: 7 + prompt.length, contextTokens: 2_048, modelUsed: "m" }),
  });
  const server = createServer([calls], () => coreIdentity("orchestrator"), silentLog);
  const path = join(folder, "runtime.sock");
  await listen(server, { path, identity: coreIdentity("orchestrator"), mode: 0o600 });
  runtime = runtimeText(`unix:${path}`);
  const record = (id: string, body: string) =>
    ({ collection: "knowledge", id, title: id, body, metadata: {}, storedAt: 0 }) as const;
  writeShelf(join(folder, "knowledge.db"), [record("abba", "aaaa bbbb"), record("zulu", "zzzz yyyy")]);
  shelf = openShelf(join(folder, "knowledge.db")) as Shelf;
  database = openDatabase(join(folder, "longterm.db"), longtermMigrations, { functions });
  archive = openArchive({ database, write: async (_what, act) => database.transaction(act)() });
  end = () => {
    runtime.close();
    server.forceShutdown();
    shelf.close();
    database.close();
  };
});
afterEach(() => {
  end();
  rmSync(folder, { recursive: true });
});

/** A model that counts letters: of length 1, and not what the lexical embedding makes. */
function letters(text: string, dimension: number): Float32Array {
  const vector = new Float32Array(dimension);
  for (const letter of text.toLowerCase()) {
    const at = (letter.codePointAt(0) ?? 0) % dimension;
    vector[at] = (vector[at] ?? 0) + 1;
  }
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

function followerOf(embedding: Embedding): Follower {
  let inUse = embedding;
  return {
    vectors: () => undefined,
    waiting: () => 0,
    use: (next) => {
      inUse = next;
    },
    embedding: () => inUse,
    suspect: () => {},
    stop: async () => {},
  };
}

describe("the embedding in use", () => {
  const clock = new ManualClock();
  async function chosen(follower: Follower): Promise<string> {
    const choosing = chooseEmbedding({
      runtime,
      follower,
      shelf,
      archive,
      settled: async () => {},
      clock,
      log: silentLog,
    });
    // The first look is over when it sleeps until the next.
    for (let at = 0; at < 50; at++) await new Promise((resolve) => setTimeout(resolve, 4));
    choosing.abort();
    return follower.embedding().id;
  }

  it("is the runtime's model where there is one, and lexical where the runtime says that there is none", async () => {
    expect(await chosen(followerOf(lexicalEmbedding))).toBe("lexical-3-384");
    model = { name: "mini", dimension: 32 };
    const follower = followerOf(lexicalEmbedding);
    expect(await chosen(follower)).toBe("model:mini:32");
    model = "none";
    expect(await chosen(follower)).toBe("lexical-3-384");
  });

  it("stays while the runtime is away", async () => {
    model = "away";
    expect(await chosen(followerOf(lexicalEmbedding))).toBe("lexical-3-384");
    expect(await chosen(followerOf(modelEmbedding("mini", 32, runtime)))).toBe("model:mini:32");
  });

  it("is that of the vectors after a restart, before the runtime has said anything", async () => {
    await archive.setIndexState({ embedding: "model:mini:32", upto: 5, mark: "m", nextMark: "" });
    expect(lastEmbedding(archive, runtime)).toMatchObject({ id: "model:mini:32", dimension: 32 });
    await archive.setIndexState({ embedding: "lexical-3-384", upto: 5, mark: "m", nextMark: "" });
    expect(lastEmbedding(archive, runtime).id).toBe("lexical-3-384");
  });

  it("gives the image's knowledge vectors of the model, once, and they are kept", async () => {
    model = { name: "mini", dimension: 32 };
    const follower = followerOf(lexicalEmbedding);
    await chosen(follower);
    const search = openSearch({ archive, shelf, follower, clock, log: silentLog });
    const found = await search({ text: "zzyy", among: [], count: 1, relevanceMin: 0, only: "vectors" });
    expect(found.hits[0]?.id).toBe("zulu");
    const made = embedded;
    shelf.close();
    shelf = openShelf(join(folder, "knowledge.db")) as Shelf;
    await chosen(followerOf(modelEmbedding("mini", 32, runtime)));
    expect(shelf.has(follower.embedding())).toBe(true);
    expect(embedded - made).toBe(1); // the question whether there is a model
  });

  it("refuses vectors of a model that took the place of the one in use", async () => {
    model = { name: "other", dimension: 32 };
    await expect(modelEmbedding("mini", 32, runtime).embed(["x"])).rejects.toThrow("the runtime embeds with other now");
  });

  it("is left out of a search when its model does not answer, and the search says so", async () => {
    model = "away";
    const follower = followerOf(modelEmbedding("mini", 32, runtime));
    const search = openSearch({ archive, shelf, follower, clock, log: silentLog });
    const found = await search({ text: "zzzz", among: [], count: 1, relevanceMin: 0 });
    expect(found).toMatchObject({ ranking: "text", note: expect.stringContaining("model:mini:32") });
    expect(found.hits[0]?.id).toBe("zulu");
  });
});

it("tokens come over the socket", async () => {
  expect(await runtime.countTokens("abc")).toBe(10);
});
