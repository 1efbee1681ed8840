/**
 * Answers are given again for an hour, never to security questions. The key is everything that the answer depends on.
 * Calls of tools and halves of answers are not kept.
 */
import { createHash } from "node:crypto";
import type { Clock } from "#lib/clock";
import type { Asked, Question } from "./question.ts";

export interface CacheLimits {
  readonly ttlMs: number;
  /** For questions of the type "documentation". */
  readonly documentationTtlMs: number;
  readonly entriesMax: number;
}

/** All kept answers together, characters. */
const sizeMax = 8 * 1024 * 1024;

/** Answers that are given again to the same question, the least recently used forgotten first. */
interface Cache<T> {
  get(key: string): T | undefined;
  set(key: string, value: T, size: number, ttlMs: number): void;
}

export function openCache<T>(entriesMax: number, clock: Clock): Cache<T> {
  const entries = new Map<string, { readonly value: T; readonly size: number; readonly until: number }>();
  let size = 0;
  const forget = (key: string) => {
    size -= entries.get(key)?.size ?? 0;
    entries.delete(key);
  };
  return {
    get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.until <= clock.monotonic()) {
        forget(key);
        return undefined;
      }
      entries.delete(key);
      entries.set(key, entry);
      return entry.value;
    },
    set(key, value, of, ttlMs) {
      forget(key);
      if (of > sizeMax || entriesMax === 0 || ttlMs === 0) return;
      entries.set(key, { value, size: of, until: clock.monotonic() + ttlMs });
      size += of;
      for (const oldest of entries.keys()) {
        if (entries.size <= entriesMax && size <= sizeMax) break;
        forget(oldest);
      }
    },
  };
}

/**
 * How long an answer to this may be given again; 0 = never: to security questions, whoever's, since what was safe an hour
 * ago need not be, and in conversations, where who asks again wants another answer.
 */
export function ttlOf({ taskType, agent }: Asked, limits: CacheLimits): number {
  if (taskType === "security" || taskType === "conversation" || agent === "security") return 0;
  return taskType === "documentation" ? limits.documentationTtlMs : limits.ttlMs;
}

/** The same for the same question to the same providers, whoever asks. */
export function cacheKey(question: Question, { preferred, allowFallback }: Asked): string {
  return createHash("sha256")
    .update(JSON.stringify([question, question.jsonSchema ?? null, preferred, allowFallback]))
    .digest("hex");
}
