/**
 * The Chroma server: its process, its API and its supervision.
 * The long-term tier and the daemon's wiring come in.
 */

export { superviseChroma, type Vectors, watchRemoteChroma } from "./chroma.ts";
export { ChromaRefusal, type ChromaUrl, onDatabase } from "./chroma-api.ts";
export { type Hold, spawnChroma, untilQuiet } from "./chroma-process.ts";
