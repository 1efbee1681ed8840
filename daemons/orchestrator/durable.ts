/**
 * Schedules, stop, services and cool-downs are files of JSON, replaced whole: some hundred entries need no database,
 * and a start reads them in no time.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import { moveAside } from "#lib/data/damaged";
import { isFullDisk } from "#lib/data/disk";
import { replaceFile } from "#lib/data/files";
import { AiosError, errnoOf, messageOf } from "#lib/errors";

/** One value of JSON in a file of its own: what was set is there after a power cut. */
export interface Durable<T> {
  readonly value: T;
  /** Stores the value, then changes it. Throws when it cannot be stored, RESOURCE_EXHAUSTED on a full disk; it is then as it was. */
  set(value: T): void;
  /** Changes the value, also when it cannot be stored: then it is so until this process ends. Returns why it could not be. */
  setAnyway(value: T): string | undefined;
}

/** Whether what a file holds can be such a value. */
export type Fits = (value: unknown) => boolean;

interface DurableParts<T> {
  readonly path: string;
  /** While there is no file yet. */
  readonly initial: T;
  readonly fits: Fits;
  readonly clock: Clock;
  /** Told what was lost, and where what was there is. */
  readonly lost: (text: string) => void;
  /** It is kept twice: a file that is lost is no first start then, and both cannot be read when this is the value. */
  readonly whenUnreadable?: T;
}

/** Opens the value in a file. One that cannot be read is moved aside, and the value begins anew. */
export function openDurable<T>({ path, initial, fits, clock, lost, whenUnreadable }: DurableParts<T>): Durable<T> {
  const copy = whenUnreadable === undefined ? undefined : `${path}.copy`;
  let value = read() ?? initial;

  function read(): T | undefined {
    const first = readOne<T>(path, fits, clock);
    if ("value" in first || copy === undefined) {
      if ("problem" in first) lost(`${first.problem}; it begins anew`);
      return "value" in first ? first.value : undefined;
    }
    const second = readOne<T>(copy, fits, clock);
    const problem = "problem" in first ? first.problem : `${path} is missing`;
    if ("value" in second) lost(`${problem}; its copy is used`);
    else if ("problem" in first || "problem" in second) lost(problem);
    else return undefined;
    return "value" in second ? second.value : whenUnreadable;
  }

  const set = (next: T) => {
    try {
      mkdirSync(dirname(path), { recursive: true });
      if (copy !== undefined) replaceFile(copy, JSON.stringify(next), 0o600);
      replaceFile(path, JSON.stringify(next), 0o600);
    } catch (error) {
      throw isFullDisk(error) ? full(path, error) : error;
    }
    value = next;
  };
  return {
    get value() {
      return value;
    },
    set,
    setAnyway(next) {
      try {
        set(next);
        return undefined;
      } catch (error) {
        value = next;
        return messageOf(error);
      }
    },
  };
}

type Found<T> = { readonly value: T } | { readonly problem: string } | { readonly missing: true };

function readOne<T>(path: string, fits: Fits, clock: Clock): Found<T> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (!fits(value)) throw new Error("it holds something else");
    // The check vouches for what the type does not say.
    return { value: value as T };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { missing: true };
    return { problem: `${path} cannot be read (${messageOf(error)}); ${asideOf(path, clock)}` };
  }
}

/** Where what cannot be read is now; best effort: on a disk that takes no writes it stays. */
function asideOf(path: string, clock: Clock): string {
  try {
    return `what was there is in ${moveAside(path, clock)}`;
  } catch (error) {
    return `it stays there, since it cannot be moved aside (${messageOf(error)})`;
  }
}

function full(path: string, cause: unknown): AiosError {
  const fault = { act: "store", object: path, reason: "the data volume is full" };
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    { ...fault, next: 'make room: "aiosctl tool call storage.clean"' },
    { cause },
  );
}

/** An object whose fields have these types; others may be there. */
export const fieldsOf =
  (types: Readonly<Record<string, "string" | "number">>): Fits =>
  (value) =>
    isObject(value) && Object.entries(types).every(([name, type]) => typeof value[name] === type);

export const listOf =
  (fits: Fits): Fits =>
  (value) =>
    Array.isArray(value) && value.every(fits);

export const mapOf =
  (fits: Fits): Fits =>
  (value) =>
    isObject(value) && Object.values(value).every(fits);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
