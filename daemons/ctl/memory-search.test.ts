import { afterEach, beforeEach, expect, it } from "vitest";
import { service } from "#lib/rpc/service";
import type { ContextRequest, SemanticSearchRequest } from "#proto/aios/memory";
import { ContextAnswer, MemoryQueryService, SearchAnswer, SearchStatusResponse } from "#proto/aios/memory_query";
import { init, openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
const asked: (SemanticSearchRequest | ContextRequest)[] = [];

beforeEach(async () => {
  twin = openTwin();
  asked.length = 0;
  const calls = service(MemoryQueryService, {
    search: (request) => {
      asked.push(request);
      const metadataJson = Buffer.from(JSON.stringify({ title: "The disk is full" }));
      const result = {
        content: "Remove old reports.",
        metadataJson,
        relevance: 0.512,
        collection: "knowledge",
        id: "k",
      };
      return SearchAnswer.fromPartial({ results: [result], ranking: "text", note: "without vectors: not ready" });
    },
    gatherContext: (request) => {
      asked.push(request);
      const chunk = { source: "operational", content: "The machine: 5 % busy.", relevance: 1, tokens: 9 };
      return ContextAnswer.fromPartial({
        pieces: [{ chunk, collection: "snapshot" }],
        totalTokens: 9,
        estimated: true,
      });
    },
    searchStatus: () =>
      SearchStatusResponse.fromPartial({ detail: "starting", embedding: "lexical-3-384", chunks: 7, waiting: 2 }),
  });
  await twin.daemon("init", init());
  await twin.daemon("memory", calls);
});
afterEach(() => twin.close());

it("searches, and says what is lacking beside the result", async () => {
  const { code, out, error } = await twin.aiosctl("memory", "search", "disk full", "-c", "knowledge", "-n", "3");
  expect(code).toBe(0);
  expect(out).toMatch(/0\.51 {2}The disk is full {2}\(knowledge\)\n +Remove old reports\./);
  expect(error).toMatch("without vectors");
  expect(asked).toEqual([{ query: "disk full", collections: ["knowledge"], nResults: 3, minRelevance: 0 }]);
  const json = JSON.parse((await twin.aiosctl("memory", "search", "x", "--json")).out);
  expect(json).toMatchObject({ ranking: "text", results: [{ id: "k", metadataJson: { title: "The disk is full" } }] });
});

it("refuses a relevance that is none", async () => {
  const { code, error } = await twin.aiosctl("memory", "search", "x", "--min-relevance", "2");
  expect(code).toBe(2);
  expect(error).toMatch("a number from 0 to 1");
});

it("shows a context with its tokens, and that they are estimated", async () => {
  const { out } = await twin.aiosctl("memory", "context", "tidy up", "--tokens", "500", "--tier", "operational");
  expect(out).toMatch("1.00  operational: snapshot  (9 tokens)\n  The machine: 5 % busy.");
  expect(out).toMatch("9 tokens, estimated");
  expect(asked).toEqual([{ taskDescription: "tidy up", maxTokens: 500, memoryTiers: ["operational"] }]);
});

it("tells how the index is", async () => {
  const { out } = await twin.aiosctl("memory", "index");
  expect(out).toMatch("not ready: starting");
  expect(out).toMatch("7 of this machine, 2 of them wait");
});
