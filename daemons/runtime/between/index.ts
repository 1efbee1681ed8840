/**
 * The line between the runtime's two halves: the pool of loaded workers, and the messages that cross to a worker's process.
 * Every room of the runtime comes in; this room imports no other.
 */

export { chatPieces, messagesMax } from "./chat.ts";
export { chatForm } from "./chat-form.ts";
export { grammarOf } from "./grammar.ts";
export type {
  Chat,
  Counted,
  Embedded,
  Embedding,
  Generated,
  Generation,
  Message,
  Reply,
  Request,
  Sampling,
  Stop,
} from "./messages.ts";
export type {
  Backend,
  Lease,
  LoadedFacts,
  ModelPool,
  ModelState,
  PooledWorker,
  Routed,
  Wanted,
  WorkerSetup,
} from "./pool.ts";
export { type SpawnWorker, startWorker, type Worker } from "./worker-process.ts";
