/** One act at a time for each key, in the order of asking: two writes of one file, each with its backup, do not interleave. */
export class Locks {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `act` once every earlier act that shares one of `keys` has ended. */
  async run<T>(keys: readonly string[], act: () => Promise<T>): Promise<T> {
    const before = keys.map((key) => this.#last.get(key));
    const running = (async () => {
      await Promise.all(before);
      return act();
    })();
    const ended = running.then(
      () => {},
      () => {},
    );
    for (const key of keys) this.#last.set(key, ended);
    try {
      return await running;
    } finally {
      for (const key of keys) if (this.#last.get(key) === ended) this.#last.delete(key);
    }
  }
}
