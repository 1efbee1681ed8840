/**
 * The kernel's ports, each over a daemon of this machine. `start.ts` comes in, and nobody else.
 */

export { approvalsIn } from "./approvals.ts";
export { harnessOver } from "./harness.ts";
export { journalOver } from "./journal.ts";
export { modelOver } from "./model.ts";
export { policyGate } from "./policy-gate.ts";
