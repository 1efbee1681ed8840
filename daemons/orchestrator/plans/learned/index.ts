/**
 * Procedures that this machine has learned from goals that were reached, and how far each is trusted. The planner's
 * sources come in; it stands on procedures alone.
 */

export { learnedSource, nothingLearned } from "./learned-source.ts";
export { type Learning, openLearning } from "./learning.ts";
export { learnedOver } from "./memory-store.ts";
