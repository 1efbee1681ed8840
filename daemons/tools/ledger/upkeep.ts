import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Undos } from "../state/index.ts";
import type { Ledger } from "./ledger.ts";
import type { Keep } from "./prune.ts";

/** The first time is long after a boot. */
const firstMs = 300_000;
const everyMs = 3_600_000;

interface UpkeepParts {
  readonly ledger: Pick<Ledger, "prune">;
  readonly undos: Pick<Undos, "forget">;
  /** Asked for each time: the configuration may change. */
  readonly keep: () => Keep;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Upkeep {
  /** Begins at once: the disk is full. */
  now(): void;
  close(): void;
}

/** Deletes what the tools keep no longer: entries of the ledger and undo plans, from time to time. */
export function openUpkeep({ ledger, undos, keep, clock, log }: UpkeepParts): Upkeep {
  const over = new AbortController();
  let work: Promise<void> | undefined;
  const prune = async () => {
    try {
      await ledger.prune(keep(), over.signal);
      await undos.forget();
    } catch (error) {
      if (over.signal.aborted) return;
      log.error("what is kept no longer cannot be deleted; it is tried again", { reason: messageOf(error) });
    }
  };
  const once = () => {
    work ??= prune().finally(() => {
      work = undefined;
    });
    return work;
  };
  const watch = async () => {
    for (let waitMs = firstMs; ; waitMs = everyMs) {
      await clock.sleep(waitMs, over.signal);
      await once();
    }
  };
  watch().catch(() => {});
  return { now: () => void once(), close: () => over.abort() };
}
