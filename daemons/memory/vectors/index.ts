/**
 * The Chroma server: its process, its API, its supervision, and the collections kept there.
 * The long-term tier and the daemon's wiring come in.
 */

export { superviseChroma, type Vectors, watchRemoteChroma } from "./chroma.ts";
export type { ChromaUrl } from "./chroma-api.ts";
export { type Hold, spawnChroma, untilQuiet } from "./chroma-process.ts";
export { type Near, type VectorCollection, type VectorServer, vectorServer } from "./vector-server.ts";
