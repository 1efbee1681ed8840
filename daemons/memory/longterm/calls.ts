import { createHash } from "node:crypto";
import type { Clock } from "#lib/clock";
import type { Service } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import type { ContextRequest, KnowledgeEntry, MemoryServiceService, SemanticSearchRequest } from "#proto/aios/memory";
import type { ContextAnswer, MemoryQueryService, SearchAnswer, SearchStatusResponse } from "#proto/aios/memory_query";
import { checked, refuse, required } from "../check.ts";
import { answerBytesMax } from "../records.ts";
import type { Vectors } from "../vectors/index.ts";
import type { Archive } from "./archive.ts";
import { assemble, tiersOf } from "./context.ts";
import type { Follower } from "./follower.ts";
import { gather, type Sources } from "./gather.ts";
import { type Collection, collections, type LongRecord } from "./records.ts";
import type { Found, Hit, Search } from "./search.ts";
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

interface SearchMemory extends Omit<Sources, "search" | "clock"> {
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
type QueryHandlers = Service<typeof MemoryQueryService>["handlers"];

/** SemanticSearch, SearchKnowledge, AddKnowledge and AssembleContext. */
export function searchCalls(memory: SearchMemory): Handlers {
  return {
    semanticSearch: async (request) => ({ results: (await answerSearch(memory, request)).results }),
    searchKnowledge: async (request) => {
      const elsewhere = request.collections.some((name) => name !== "knowledge");
      if (elsewhere) refuse("query", "collections", `SearchKnowledge searches "knowledge" alone`, "search");
      return { results: (await answerSearch(memory, { ...request, collections: ["knowledge"] })).results };
    },
    addKnowledge: async (request) => {
      await memory.search.archive.put(knowledgeOf(request, memory.clock.now()));
      return {};
    },
    assembleContext: async (request) => {
      const { pieces, totalTokens } = await contextOf(memory, request);
      return { chunks: pieces.flatMap(({ chunk }) => chunk ?? []), totalTokens };
    },
  };
}

/** The same with what those answers have no room for, and how the search is. */
export function searchQueryCalls(memory: SearchMemory): QueryHandlers {
  return {
    search: (request) => answerSearch(memory, request),
    gatherContext: (request) => contextOf(memory, request),
    searchStatus: () => searchStatus(memory),
  };
}

async function answerSearch({ search }: SearchMemory, request: SemanticSearchRequest): Promise<SearchAnswer> {
  return answerOf(await search.search(queryOf(request, request.collections.map(collection))));
}

function knowledgeOf(request: KnowledgeEntry, nowMs: number): LongRecord {
  const { title, content, source, tags } = checked("knowledge", request);
  required("knowledge", "content", content.trim());
  if (tags.length > tagsMax) refuse("knowledge", "tags", `${tags.length} tags, at most ${tagsMax}`);
  const long = tags.find((tag) => tag.length > tagLengthMax);
  if (long !== undefined) refuse("knowledge", "tags", `"${beginning(long, 20)}…" is longer than ${tagLengthMax}`);
  return {
    collection: "knowledge",
    id: knowledgeId(source, title || content),
    title,
    body: tags.length === 0 ? content : `${content}\n\nTags: ${tags.join(", ")}`,
    metadata: { title, source, tags },
    storedAt: nowMs,
  };
}

async function contextOf(memory: SearchMemory, request: ContextRequest): Promise<ContextAnswer> {
  const { taskDescription, maxTokens, memoryTiers } = request;
  required("context", "taskDescription", taskDescription.trim(), "assemble");
  lengthWithin("context", "taskDescription", taskDescription);
  if (maxTokens < 0 || maxTokens > tokensMax)
    refuse("context", "maxTokens", `${maxTokens} is not between 0 and ${tokensMax}`, "assemble");
  const { search, ...sources } = memory;
  const asked = tiersOf(memoryTiers);
  const { snapshot, pieces, note } = await gather({ ...sources, search: search.search }, taskDescription, asked);
  const context = await assemble({ snapshot, pieces, tokensMax: maxTokens || tokensDefault, count: search.count });
  return {
    pieces: context.chunks.map(({ tier, content, relevance, tokens, collection: from, id }) => ({
      chunk: { source: tier, content, relevance, tokens },
      collection: from,
      id,
    })),
    totalTokens: context.totalTokens,
    estimated: context.estimated,
    note,
  };
}

function searchStatus({ vectors, search: { archive, follower, shelf } }: SearchMemory): SearchStatusResponse {
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
    `there is no collection "${beginning(name, 64)}", but ${collections.join(", ")}`,
    "search",
  );
}

/** As many results as one answer holds. Their metadata say how they were ranked. */
function answerOf({ hits, ranking, note }: Found): SearchAnswer {
  let bytes = 0;
  const fitting = hits.filter(({ body, metadataJson }) => {
    bytes += Buffer.byteLength(body) + metadataJson.length + 300;
    return bytes <= answerBytesMax;
  });
  const short = fitting.length < hits.length ? `${hits.length - fitting.length} more do not fit one answer` : "";
  return {
    results: fitting.map((hit) => resultOf(hit, ranking)),
    ranking,
    note: [note, short].filter((text) => text !== "").join("; "),
  };
}

function resultOf(
  { body, title, part, storedAt, metadataJson, relevance, collection: from, id }: Hit,
  ranking: string,
) {
  const metadata = JSON.parse(metadataJson.toString("utf8")) as object;
  const told = { ...metadata, title, part, storedAt, ranking };
  return { content: body, metadataJson: Buffer.from(JSON.stringify(told)), relevance, collection: from, id };
}

/** The same title from the same source is the same knowledge: it is replaced. */
function knowledgeId(source: string, title: string): string {
  return createHash("sha256").update(`${source}\0${title}`).digest("hex").slice(0, 24);
}
