/**
 * A goal's life: taken, planned, its tasks run by agents, closed, and taken up again after a crash. Sessions, services
 * and what the machine does of itself come in by `Goals`; it stands on plans and agents.
 */

export { openChanges } from "./changes.ts";
export { type Goals, openGoals } from "./goals.ts";
export { openLoan } from "./lend.ts";
export { storeOver } from "./memory-store.ts";
export type { Submission } from "./submission.ts";
export { subTaskGoal } from "./subtasks.ts";
export { inTurn } from "./turns.ts";
export { type Undo, undoOf } from "./undo.ts";
