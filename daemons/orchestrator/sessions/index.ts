/**
 * Conversations with agents: the kernel over the daemons of this machine, loaded with the first of them. Services come
 * in; `start.ts` is loaded late, and by talks.ts alone.
 */

export { type BranchRef, branchOf, type Happening } from "./happenings.ts";
export type { SessionPage, Speaker } from "./sessions.ts";
export { openTalks, type SessionsMeans } from "./talks.ts";
export type { SessionView } from "./view.ts";
