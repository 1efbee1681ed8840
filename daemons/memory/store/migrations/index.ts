/**
 * The databases' tables by version.
 * The stores and the programs that make or measure a database come in.
 */
export { longterm002 } from "./longterm-002-search.ts";
export { longterm003 } from "./longterm-003-words.ts";
export { functions, journalMigrations, longtermMigrations, workingMigrations } from "./migrations.ts";
