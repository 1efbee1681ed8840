/**
 * The state of a branch by its events: what each kind of event makes of it.
 * The writer alone comes in.
 */
export { fold, leaveParentsRun } from "./fold.ts";
