/**
 * SQLite below every tier: opening, group commit, pages, upkeep, backup and check.
 * Every tier comes in.
 */

export { type Backups, openBackups } from "./backup.ts";
export type { Backup } from "./backup-files.ts";
export { type Check, checkApart, checkCommand, runCheck } from "./check.ts";
export { type Page, pager, takeAll, takePage, unknownError } from "./pages.ts";
export { quoteAll, select, type Table, upsert } from "./rows.ts";
export { openStore, type Store, type StoreOptions } from "./store.ts";
export { keepUp, type Upkeep } from "./upkeep.ts";
