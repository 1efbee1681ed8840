/**
 * The kernel's ports, each over a daemon of this machine. `start.ts` comes in, and nobody else.
 */

export { harnessOver } from "./harness.ts";
export { type HeardJournal, journalOver } from "./journal.ts";
export { modelOver } from "./model.ts";
export { policyGate } from "./policy-gate.ts";
