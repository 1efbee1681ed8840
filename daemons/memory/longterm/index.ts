/**
 * The long-term tier: records, embeddings, search, and the image's own knowledge.
 * The daemon's wiring, its service and the program that makes that knowledge come in.
 */
export { openArchive } from "./archive.ts";
export { type SearchTier, searchCalls, searchQueryCalls } from "./calls.ts";
export { lexicalEmbedding } from "./embedding.ts";
export type { Follower } from "./follower.ts";
export { lexicalVector } from "./lexical.ts";
export { type Longterm, openLongterm } from "./longterm.ts";
export { type LongRecord, textOf } from "./records.ts";
export { type RuntimeText, runtimeText } from "./runtime-text.ts";
export { openSearch } from "./search.ts";
export { openShelf, pack, shelfTables } from "./shelf.ts";
export { openTier } from "./tier.ts";
