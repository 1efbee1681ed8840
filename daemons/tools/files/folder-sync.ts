import { fstatSync } from "node:fs";

interface Under {
  /** The sync that is on its way. */
  now: Promise<void>;
  /** The one behind it, which has not begun. */
  next?: Promise<void>;
}

/**
 * Syncs of folders, shared. A folder that many files are put into at once is asked of the disk once for all of them: whoever comes
 * while a sync is on its way, which may have begun before the change, shares the one that begins after it.
 */
export class FolderSyncs {
  readonly #sync: (folder: number) => Promise<void>;
  readonly #under = new Map<string, Under>();

  /** `sync` makes the names in a held folder durable. */
  constructor(sync: (folder: number) => Promise<void>) {
    this.#sync = sync;
  }

  /** Makes the names in a held folder durable. The descriptor stays open until this has settled. */
  async sync(folder: number): Promise<void> {
    const { dev, ino } = fstatSync(folder, { bigint: true });
    const key = `${dev}:${ino}`;
    const under = this.#under.get(key);
    if (under === undefined) return this.#begin(key, folder);
    // Another's fault is not ours: the next one tells.
    under.next ??= under.now.catch(() => {}).then(() => this.#begin(key, folder));
    return under.next;
  }

  #begin(key: string, folder: number): Promise<void> {
    const under: Under = { now: this.#sync(folder) };
    this.#under.set(key, under);
    const over = () => {
      if (this.#under.get(key) === under && under.next === undefined) this.#under.delete(key);
    };
    under.now.then(over, over);
    return under.now;
  }
}
