/** Tools of backup: files and folders as archives in the machine's own state. For the catalogue, and for the snapshots of storage. */
export { archiveTimeoutMs, pack, sumOf, unpack } from "./archive.ts";
export { backupTools, copyKeeper, openStore, type Store } from "./backups.ts";
export { prepareReplace, settleReplace, undoPack, undoReplace } from "./replace.ts";
