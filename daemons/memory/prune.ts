import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Working } from "./working.ts";

/** The first time after a boot is over; then often enough that no round is long. */
const firstMs = 300_000;
const everyMs = 21_600_000;
/** Between two batches the calls have their turn. */
const breathMs = 50;

/** Deletes what is past its time, in small batches, until it is aborted. */
export function keepPruned(working: Working, clock: Clock, log: Log): AbortController {
  const ending = new AbortController();
  const run = async () => {
    await clock.sleep(firstMs, ending.signal);
    for (;;) {
      let rows = 0;
      for (let batch = working.prune(clock.now()); batch > 0; batch = working.prune(clock.now())) {
        rows += batch;
        await clock.sleep(breathMs, ending.signal);
      }
      if (rows > 0) log.info("deleted what is past its time", { rows });
      await clock.sleep(everyMs, ending.signal);
    }
  };
  run().catch((error) => {
    if (!ending.signal.aborted) throw error;
  });
  return ending;
}
