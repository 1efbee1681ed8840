import { appendFileSync, renameSync, statSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { callAfter } from "#lib/clock";

export const fileLimits = {
  /** A file this large, bytes, becomes `.1`, `.1` becomes `.2`, and the oldest goes. */
  fileBytes: 4 * 1024 * 1024,
  files: 3,
  /** Characters of a unit that wait for the disk. More are dropped. */
  unwrittenLength: 1024 * 1024,
} as const;

/** Lines reach the disk after this long at the latest. */
export const flushAfterMs = 250;

export interface LogFiles {
  append(unit: string, text: string): void;
  /** Resolves when everything is in the files, what was on its way there too. */
  close(): Promise<void>;
}

/** One file for each unit. Writing is best effort: a full disk costs lines in files, never a unit its pipe. */
export function openLogFiles(folder: string): LogFiles {
  const unwritten = new Map<string, string>();
  let waiting: (() => void) | undefined;
  let writing = Promise.resolve();
  let closed = false;

  const flush = async () => {
    waiting = undefined;
    for (const [unit, text] of [...unwritten]) {
      unwritten.delete(unit);
      const path = join(folder, `${unit}.log`);
      try {
        rotate(path);
        await appendFile(path, text, { mode: 0o640 });
      } catch {
        // The disk is full or gone: these lines are in the ring alone.
      }
    }
    if (unwritten.size > 0) schedule();
  };
  const schedule = () => {
    if (!closed)
      waiting ??= callAfter(flushAfterMs, () => {
        writing = flush();
      });
  };

  return {
    append(unit, text) {
      const joined = (unwritten.get(unit) ?? "") + text;
      if (joined.length <= fileLimits.unwrittenLength) unwritten.set(unit, joined);
      schedule();
    },
    async close() {
      closed = true;
      waiting?.();
      await writing;
      for (const [unit, text] of unwritten) {
        try {
          appendFileSync(join(folder, `${unit}.log`), text, { mode: 0o640 });
        } catch {
          // As above.
        }
      }
      unwritten.clear();
    },
  };
}

function rotate(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < fileLimits.fileBytes) return;
  const name = (index: number) => (index === 0 ? path : `${path}.${index}`);
  for (let index = fileLimits.files - 1; index > 0; index -= 1) {
    try {
      renameSync(name(index - 1), name(index));
    } catch {
      // That one does not exist yet.
    }
  }
}
