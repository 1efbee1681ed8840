/**
 * Questions to a loaded model: their queue, their schema, their stream and their metrics.
 * The main program, the service and its translation come in.
 */
export { type Ask, type Asker, priorityOf } from "./ask.ts";
export type { Priority } from "./queue.ts";
export { type Outcome, openRuntime, type Runtime } from "./runtime.ts";
