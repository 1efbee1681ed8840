/**
 * What the tools must not forget beside the ledger: tools.db, documents, undo plans, and the reserve of disk.
 * Everybody above comes in: the ledger by its commits, the catalogue by documents and backups.
 */
export { type Commits, type Outside, openCommits } from "./commits.ts";
export { type Documents, openDocuments } from "./documents.ts";
export { makeRoom, openReserve, type Reserve } from "./reserve.ts";
export { openState, type State } from "./state.ts";
export { type Backups, backupSizeMaxBytes, inlineMaxBytes, openUndos, type Undos } from "./undo.ts";
export type { Prepared } from "./undo-table.ts";
