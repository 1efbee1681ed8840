import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { AiosError } from "../errors.ts";
import { syncFolder } from "./files.ts";
import type { Sqlite } from "./sqlite.ts";

/** Writes that wait for a commit at most; more are refused, so that a slow disk does not fill the memory. */
const waitingMax = 4_096;

/** The log is written over and over: mostly its length stays, and the data is all that must reach the disk. */
const syncLater = promisify(fdatasync);

/**
 * The commits of one database: what is written at the same time shares one. SQLite writes its log without waiting for the
 * disk; this waits, off the event loop, and tells nobody that a write was done before it is. What comes in while the disk
 * is busy shares the next commit.
 */
interface GroupCommits {
  /** Runs `act` in the next commit. Resolves to what it returns when that is on disk; throws RESOURCE_EXHAUSTED when too many wait. */
  write<T>(what: string, act: () => T): Promise<T>;
  /** Commits at once, blocking: for start-up. */
  now<T>(what: string, act: () => T): T;
  /** Commits what waits, blocking; the database stays open. */
  close(): void;
}

export interface Write {
  /** What is written, for people. */
  readonly what: string;
  readonly act: () => unknown;
}

/** What came of one write. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** What differs between databases. */
interface CommitRules {
  /** Runs writes as one commit. Returns what came of each, in their order; throws when it made none of them. */
  readonly commit: (writes: readonly Write[]) => readonly Outcome[];
  /** The error that a writer sees. */
  readonly failure: (error: unknown, what: string) => unknown;
  /** Called when a commit is on disk, before its writers know. */
  readonly synced: (outcomes: readonly Outcome[]) => void;
  /** Called when the disk did not take a commit. */
  readonly unsynced?: (error: unknown) => void;
  /** Writes of one commit at most; without it all that wait. */
  readonly togetherMax?: number;
}

interface Waiting extends Write {
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export function openGroupCommits(database: Sqlite, rules: CommitRules): GroupCommits {
  const { commit, failure, synced, unsynced, togetherMax = waitingMax } = rules;
  // The log is made durable below: at each commit, as synchronous=FULL would, but without stopping the daemon meanwhile.
  database.pragma("synchronous = NORMAL");
  const log = openSync(`${database.name}-wal`, "r");
  syncFolder(dirname(database.name));
  const waiting: Waiting[] = [];
  let busy = false;

  const settle = (batch: readonly Waiting[], outcomes: readonly Outcome[]) => {
    synced(outcomes);
    for (const [at, { what, resolve, reject }] of batch.entries()) {
      const outcome = outcomes[at] as Outcome;
      if ("error" in outcome) reject(failure(outcome.error, what));
      else resolve(outcome.value as never);
    }
  };
  const sync = () =>
    syncLater(log).catch((error) => {
      unsynced?.(error);
      throw error;
    });
  const drain = async () => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, togetherMax);
      try {
        const outcomes = commit(batch);
        await sync();
        settle(batch, outcomes);
      } catch (error) {
        for (const { what, reject } of batch) reject(failure(error, what));
      }
    }
    busy = false;
  };
  const atOnce = (writes: readonly Write[]) => {
    try {
      return commit(writes);
    } catch (error) {
      throw failure(error, writes[0]?.what ?? "");
    }
  };

  return {
    write: (what, act) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= waitingMax) return reject(crowded(what));
        waiting.push({ what, act, resolve, reject });
        if (busy) return;
        busy = true;
        // After this turn of the event loop: calls that arrived together are committed together.
        setImmediate(drain);
      }),
    now: (what, act) => {
      const outcomes = atOnce([{ what, act }]);
      fdatasyncSync(log);
      synced(outcomes);
      const [outcome] = outcomes as readonly [Outcome];
      if ("error" in outcome) throw failure(outcome.error, what);
      return outcome.value as never;
    },
    close: () => {
      const last = waiting.splice(0);
      const outcomes = last.length > 0 ? atOnce(last) : [];
      fdatasyncSync(log);
      if (last.length > 0) settle(last, outcomes);
      closeSync(log);
    },
  };
}

function crowded(what: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "write",
    object: what,
    reason: `${waitingMax} writes wait for the disk already`,
    next: "write more slowly, or look at the disk",
  });
}
