import { createHash } from "node:crypto";
import type { Clock } from "#lib/clock";
import type { Service } from "#lib/service";
import type { MemoryServiceService, SearchResults, SemanticSearchRequest } from "#proto/aios/memory";
import type { SearchStatusResponse } from "#proto/aios/memory_query";
import { checked, refuse, required } from "../check.ts";
import type { Vectors } from "../chroma.ts";
import { answerBytesMax } from "../records.ts";
import type { Archive } from "./archive.ts";
import { assembled, tiersOf } from "./context.ts";
import type { Follower } from "./follower.ts";
import { gathered, type Sources } from "./gather.ts";
import { type Collection, collections } from "./records.ts";
import type { Found, Search } from "./search.ts";
import type { Shelf } from "./shelf.ts";
import type { CountTokens } from "./tokens.ts";

/** The long-term memory as the calls use it. */
export interface SearchTier {
  readonly archive: Archive;
  readonly shelf: Shelf | undefined;
  readonly follower: Follower;
  readonly search: Search;
  readonly count: CountTokens;
}

export interface SearchMemory extends Omit<Sources, "search" | "clock"> {
  readonly search: SearchTier;
  readonly vectors: Vectors;
  readonly clock: Clock;
}

/** Results of one answer, and tokens of a context: unless told, at most. */
const resultsDefault = 10;
const resultsMax = 100;
const tokensDefault = 4_000;
const tokensMax = 200_000;

const queryLengthMax = 32_768;
const tagsMax = 100;
const tagLengthMax = 128;

type Handlers = Service<typeof MemoryServiceService>["handlers"];

/** SemanticSearch, SearchKnowledge, AddKnowledge and AssembleContext. */
export function searchCalls(memory: SearchMemory): Handlers {
  const { clock, search: tier } = memory;
  return {
    semanticSearch: async (request) =>
      resultsOf(await tier.search(queryOf(request, request.collections.map(collection)))),
    searchKnowledge: async (request) => {
      const elsewhere = request.collections.find((name) => name !== "knowledge");
      if (elsewhere !== undefined)
        refuse("query", "collections", `SearchKnowledge has no collection but "knowledge"`, "search");
      return resultsOf(await tier.search(queryOf(request, ["knowledge"])));
    },
    addKnowledge: async (request) => {
      const { title, content, source, tags } = checked("knowledge", request, clock.now());
      required("knowledge", "content", content.trim());
      if (tags.length > tagsMax) refuse("knowledge", "tags", `${tags.length} tags, at most ${tagsMax}`);
      const long = tags.find((tag) => tag.length > tagLengthMax);
      if (long !== undefined) refuse("knowledge", "tags", `"${long.slice(0, 20)}…" is longer than ${tagLengthMax}`);
      await tier.archive.put({
        collection: "knowledge",
        id: knowledgeId(source, title || content),
        title,
        body: tags.length === 0 ? content : `${content}\n\nTags: ${tags.join(", ")}`,
        metadata: { title, source, tags },
        storedAt: clock.now(),
      });
      return {};
    },
    assembleContext: async ({ taskDescription, maxTokens, memoryTiers }) => {
      required("context", "taskDescription", taskDescription.trim(), "assemble");
      lengthWithin("context", "taskDescription", taskDescription);
      if (maxTokens < 0 || maxTokens > tokensMax)
        refuse("context", "maxTokens", `${maxTokens} is not between 0 and ${tokensMax}`, "assemble");
      const sources = { ...memory, search: tier.search };
      const { snapshot, pieces, note } = await gathered(sources, taskDescription, tiersOf(memoryTiers));
      const budget = maxTokens || tokensDefault;
      const context = await assembled({ snapshot, pieces, tokensMax: budget, count: tier.count });
      const chunks = context.chunks.map(({ tier: source, ...chunk }) => ({ source, ...chunk }));
      return { chunks, totalTokens: context.totalTokens, estimated: context.estimated, note };
    },
  };
}

/** How the search is, for MemoryQuery. */
export function searchStatus({ vectors, search: { archive, follower, shelf } }: SearchMemory): SearchStatusResponse {
  const { ready, detail, pid } = vectors.status();
  return {
    vectorsReady: ready,
    detail,
    chromaPid: pid,
    embedding: follower.embedding().id,
    chunks: archive.countChunks(),
    waiting: follower.waiting(),
    shelfChunks: shelf?.chunkCount ?? 0,
  };
}

function queryOf({ query, nResults, minRelevance }: SemanticSearchRequest, among: readonly Collection[]) {
  required("query", "query", query.trim(), "search");
  lengthWithin("query", "query", query);
  if (nResults < 0 || nResults > resultsMax)
    refuse("query", "nResults", `${nResults} is not between 0 and ${resultsMax}`, "search");
  if (!(minRelevance >= 0 && minRelevance <= 1))
    refuse("query", "minRelevance", `${minRelevance} is not between 0 and 1`, "search");
  return { text: query, among, count: nResults || resultsDefault, relevanceMin: minRelevance };
}

function lengthWithin(what: string, name: string, text: string): void {
  if (text.length > queryLengthMax)
    refuse(
      what,
      name,
      `${text.length} characters, at most ${queryLengthMax}`,
      what === "query" ? "search" : "assemble",
    );
}

function collection(name: string): Collection {
  const found = collections.find((one) => one === name);
  if (found !== undefined) return found;
  return refuse(
    "query",
    "collections",
    `there is no collection "${name.slice(0, 64)}", but ${collections.join(", ")}`,
    "search",
  );
}

/** As many results as one answer holds. */
function resultsOf({ hits, ranking, note }: Found): SearchResults {
  let bytes = 0;
  const fitting = hits.filter(({ body, metadataJson }) => {
    bytes += Buffer.byteLength(body) + metadataJson.length + 200;
    return bytes <= answerBytesMax;
  });
  const results = fitting.map(({ body, metadataJson, relevance, collection: from, id }) => ({
    content: body,
    metadataJson,
    relevance,
    collection: from,
    id,
  }));
  const short = fitting.length < hits.length ? `${hits.length - fitting.length} more do not fit one answer` : "";
  return { results, ranking, note: [note, short].filter((text) => text !== "").join("; ") };
}

/** The same title from the same source is the same knowledge: it is replaced. */
function knowledgeId(source: string, title: string): string {
  return createHash("sha256").update(`${source}\0${title}`).digest("hex").slice(0, 24);
}
