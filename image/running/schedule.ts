/** Something to be done once all that it needs is done. */
export interface Task {
  readonly name: string;
  /** Names of other tasks; what is none of them is there already. */
  readonly needs: readonly string[];
  /** Of those that could begin the one with the highest rank does. */
  readonly rank: number;
  /** `stop` is aborted when another one has failed, or all are to end: what cannot be ended soon may go on to its end. */
  run(stop: AbortSignal): Promise<void>;
}

/**
 * Runs tasks side by side, at most `lanes` at a time. When one fails no other begins, those that run are asked to end, and
 * once they have it throws what the first one threw: what has ended well by then is done. `stop` does the same from outside:
 * then it throws the signal's reason.
 */
export async function runSideBySide(tasks: readonly Task[], lanes: number, stop?: AbortSignal): Promise<void> {
  const waiting = tasks.toSorted((a, b) => b.rank - a.rank);
  const open = new Set(tasks.map(({ name }) => name));
  const running = new Map<string, Promise<void>>();
  const failed = new AbortController();
  const over = stop === undefined ? failed.signal : AbortSignal.any([failed.signal, stop]);
  const failures: unknown[] = [];
  const begin = (task: Task) => {
    const ended = task.run(over).then(
      () => void open.delete(task.name),
      (error: unknown) => {
        failures.push(error);
        failed.abort();
      },
    );
    running.set(
      task.name,
      ended.then(() => void running.delete(task.name)),
    );
  };
  for (;;) {
    while (!over.aborted && running.size < lanes) {
      const at = waiting.findIndex(({ needs }) => !needs.some((need) => open.has(need)));
      if (at < 0) break;
      for (const task of waiting.splice(at, 1)) begin(task);
    }
    if (running.size === 0) break;
    await Promise.race(running.values());
  }
  stop?.throwIfAborted();
  if (failures.length > 0) throw failures[0];
  if (waiting.length > 0) throw new Error(`${waiting.map(({ name }) => name).join(", ")} wait for each other`);
}
