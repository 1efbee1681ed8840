/**
 * The weekly vacuum gives pages back in small steps. `VACUUM` would stop the daemon for seconds and needs the space
 * twice; `auto_vacuum = INCREMENTAL` is set before the first page is written, and older small files are rewritten once.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { replaceFile } from "#lib/data/files";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Backups } from "./backup.ts";
import type { Store } from "./store.ts";

/** The stores' upkeep in the background. Each job runs for the first time when a boot is long over. */
interface Chores {
  readonly stores: readonly Store[];
  readonly backups: Backups;
  /** Deletes one batch of what is past its time; resolves to the number of rows. */
  readonly prune: (nowMs: number) => Promise<number>;
  /** Remember over restarts when free pages were last given back, and up to when was last pruned. */
  readonly vacuumFile: string;
  readonly pruneFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

const hourMs = 3_600_000;
const firstMs = 300_000;
const pruneEveryMs = 6 * hourMs;
const backupEveryMs = 24 * hourMs;
const vacuumEveryMs = 7 * 24 * hourMs;

/**
 * At most this far one pruning goes on from the last: a clock that is far ahead for a while costs this much, and not
 * all there is.
 */
const pruneStepMs = 48 * hourMs;

/** Between two batches the calls have their turn. */
const pauseMs = 50;

/** Pages given back in one commit. */
const vacuumPages = 256;

export interface Upkeep {
  lastVacuumAt(): number;
  stop(): Promise<void>;
}

/** Prunes, vacuums and backs up from time to time, until it is stopped. A job that fails is logged and tried again next time. */
export function keepUp({ stores, backups, prune, vacuumFile, pruneFile, clock, log }: Chores): Upkeep {
  const ending = new AbortController();
  const { signal } = ending;
  let lastVacuumAt = timeIn(vacuumFile);

  /** Whether it was done so lately; what is still to come was done by a clock that was set back since. */
  const isWithin = (ms: number, atMs: number) => {
    const ageMs = clock.now() - atMs;
    return ageMs >= 0 && ageMs < ms;
  };
  const pruneAll = async () => {
    const before = timeIn(pruneFile);
    const upTo = before === 0 ? clock.now() : Math.min(clock.now(), before + pruneStepMs);
    let rows = 0;
    for (let batch = await prune(upTo); batch > 0; batch = await prune(upTo)) {
      rows += batch;
      await clock.sleep(pauseMs, signal);
    }
    replaceFile(pruneFile, `${upTo}\n`);
    if (rows > 0) log.info("deleted what is past its time", { rows });
  };
  const vacuum = async () => {
    if (isWithin(vacuumEveryMs, lastVacuumAt)) return;
    for (const store of stores) {
      const before = store.sizes().free;
      for (let left = await store.shrink(vacuumPages), last = Infinity; left > 0 && left < last; ) {
        await clock.sleep(pauseMs, signal);
        last = left;
        left = await store.shrink(vacuumPages);
      }
      if (before > 0) log.info("free pages given back", { store: store.name, bytes: before - store.sizes().free });
    }
    lastVacuumAt = clock.now();
    writeFileSync(vacuumFile, `${lastVacuumAt}\n`);
  };
  let changesAtBackup = -1;
  const backUp = async () => {
    // Not writes: pages that are given back and pruning that finds nothing are no reason for another.
    const changes = stores.reduce((sum, store) => sum + store.changes(), 0);
    const [newest] = backups.list();
    if (newest !== undefined && (changes === changesAtBackup || isWithin(backupEveryMs, newest.createdAt))) return;
    await backups.make();
    changesAtBackup = changes;
  };

  const every = async (name: string, firstAfterMs: number, everyMs: number, job: () => Promise<void>) => {
    await clock.sleep(firstAfterMs, signal);
    for (;;) {
      await job().catch((error) => {
        if (!signal.aborted) log.error(`${name} failed; it is tried again`, { reason: messageOf(error) });
      });
      await clock.sleep(everyMs, signal);
    }
  };
  const jobs = [
    every("deleting what is past its time", firstMs, pruneEveryMs, pruneAll),
    // Looked at every hour, made once a day: a machine that is on for an hour a day has a backup too.
    every("the backup", 2 * firstMs, hourMs, backUp),
    every("giving free pages back", 3 * firstMs, hourMs, vacuum),
  ].map((job) =>
    job.catch((error) => {
      if (!signal.aborted) throw error;
    }),
  );
  return {
    lastVacuumAt: () => lastVacuumAt,
    async stop() {
      ending.abort(new Error("aios-memory is ending"));
      await Promise.all(jobs);
    },
  };
}

/** Milliseconds; 0 when there is no such file. */
function timeIn(file: string): number {
  try {
    return Number(readFileSync(file, "utf8")) || 0;
  } catch {
    return 0;
  }
}
