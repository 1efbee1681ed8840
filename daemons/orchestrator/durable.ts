import { mkdirSync, readFileSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf, messageOf } from "#lib/errors";
import { replaceFile } from "#lib/files";

/** One value of JSON in a file of its own: what was set is there after a power cut. */
export interface Durable<T> {
  readonly value: T;
  /** Stores the value, then changes it. Throws when it cannot be stored; it is then as it was. */
  set(value: T): void;
}

/**
 * Opens the value in `path`; `initial` when there is none yet. A file that cannot be read is kept beside, as `path.unreadable`,
 * and `fault` is told; the value is then `whenUnreadable`.
 */
export function openDurable<T>(
  path: string,
  initial: T,
  fault: (text: string) => void,
  whenUnreadable: T = initial,
): Durable<T> {
  let value = read(path, initial, fault, whenUnreadable);
  return {
    get value() {
      return value;
    },
    set(next) {
      mkdirSync(dirname(path), { recursive: true });
      replaceFile(path, JSON.stringify(next), 0o600);
      value = next;
    },
  };
}

function read<T>(path: string, initial: T, fault: (text: string) => void, whenUnreadable: T): T {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return initial;
    fault(`${path} cannot be read (${messageOf(error)}); it is kept as ${path}.unreadable`);
    if (errnoOf(error) === undefined) renameSync(path, `${path}.unreadable`);
    return whenUnreadable;
  }
}
