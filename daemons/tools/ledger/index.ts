/**
 * The ledger: entries in one hash chain with a signed head, its verification, export and pruning.
 * The pipeline and custom tools write it, the catalogue reads it, tools.ts opens it.
 */
export type { Entry, Note } from "./entry.ts";
export { type Ledger, openLedger } from "./ledger.ts";
export type { Keep } from "./prune.ts";
export { openUpkeep, type Upkeep } from "./upkeep.ts";
