import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { ModelPool, Worker } from "../between/index.ts";
import type { Metrics } from "./metrics.ts";
import { createQueue, type Queue, type QueueStatus, type Ticket } from "./queue.ts";

/** Calls on their way to a worker: each model has its queue. */
interface Calls {
  /** Runs `act` in its turn with a worker that has the model loaded. Errors as {@link Queue.run} and the pool's acquire. */
  run<T>(
    model: string,
    ticket: Ticket,
    signal: AbortSignal,
    act: (worker: Worker, queueMs: number) => Promise<T>,
  ): Promise<T>;
  /** The same out of turn, for what takes no sequence. */
  beside<T>(model: string, signal: AbortSignal, act: (worker: Worker) => Promise<T>): Promise<T>;
  queues(): ReadonlyMap<string, QueueStatus>;
  waiting(): number;
}

export function openCalls(pool: ModelPool<Worker>, metrics: Metrics, clock: Clock): Calls {
  const queues = new Map<string, Queue>();
  const queueOf = (model: string) => {
    const queue = queues.get(model) ?? createQueue(model, clock);
    queues.set(model, queue);
    return queue;
  };
  const leased = async <T>(
    model: string,
    signal: AbortSignal,
    act: (worker: Worker, sequences: number) => Promise<T>,
  ): Promise<T> => {
    const lease = await pool.acquire(model, signal);
    try {
      return await act(lease.worker, lease.sequences);
    } finally {
      lease.release();
    }
  };

  return {
    async run(model, ticket, signal, act) {
      const queue = queueOf(model);
      const asked = clock.monotonic();
      try {
        const result = await queue.run(ticket, signal, () =>
          leased(model, signal, (worker, sequences) => {
            queue.widen(sequences);
            const queueMs = clock.monotonic() - asked;
            metrics.waited(model, queueMs);
            return act(worker, queueMs);
          }),
        );
        metrics.ended(model, "OK");
        return result;
      } catch (error) {
        metrics.ended(model, error instanceof AiosError ? error.code : "INTERNAL");
        throw error;
      }
    },
    beside: leased,
    queues: () => new Map([...queues].map(([model, queue]) => [model, queue.status()])),
    waiting: () =>
      [...queues.values()].reduce(
        (sum, queue) => sum + Object.values(queue.status().waiting).reduce((a, b) => a + b, 0),
        0,
      ),
  };
}
