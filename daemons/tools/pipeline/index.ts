/**
 * The way of a call: gate, approval, undo, act, record; and its rollback.
 * The services and custom tools come in, and of the catalogue what shows approvals or is held.
 */
export { type Approvals, openApprovals } from "./approvals.ts";
export { conclude, type Executor, openExecutor, runApproved } from "./execute.ts";
export { openGate } from "./gate.ts";
export { type Holding, openHolding } from "./holding.ts";
export { Locks } from "./locks.ts";
export { Once } from "./once.ts";
export { type Facts, intent, refusal } from "./record.ts";
export { openRepeats } from "./repeats.ts";
export { openRollbacks, type Rollbacks } from "./rollback.ts";
export type { Ticket } from "./tickets.ts";
export { openValidation, type Validation } from "./validation.ts";
