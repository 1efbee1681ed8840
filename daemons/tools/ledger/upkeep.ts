import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Ledger } from "./ledger.ts";

/** The first time is long after a boot. */
const firstMs = 300_000;
const everyMs = 3_600_000;

/** Prunes the ledger from time to time, until `signal` is aborted. `keepMs` is asked for each time: the configuration may change. */
export async function keepPruned(
  ledger: Ledger,
  keepMs: () => number,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (let waitMs = firstMs; ; waitMs = everyMs) {
    await clock.sleep(waitMs, signal);
    try {
      await ledger.prune({ ageMs: keepMs() }, signal);
    } catch (error) {
      if (signal.aborted) return;
      log.error("the ledger cannot be pruned; it is tried again", { reason: messageOf(error) });
    }
  }
}
