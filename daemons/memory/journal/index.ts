/**
 * The sessions' events, numbered by branch, and those who follow them.
 * The daemon's wiring and the administration come in.
 */
export { type Journal, openJournal } from "./journal.ts";
export { journalService } from "./service.ts";
