import type { Clock } from "#lib/clock";
import type { Metric } from "../operational.ts";
import { type Page, pager, type Store } from "../store/index.ts";

/** The metrics' past. */
export interface MetricHistory {
  /** Keeps a value: the last of each ten seconds, when those are over. */
  note(metric: Metric): void;
  /** The last value of each key that is kept. */
  last(): Metric[];
  /** Newest first, `since` <= t < `until` (0 = without an end). */
  values(key: string, since: number, until: number, limit: number, cursor: string): Page<Metric>;
  /** Writes what has been noted. */
  close(): Promise<void>;
}

const everyMs = 10_000;

/** Of one commit, so that 10,000 metrics do not hold up the calls. */
const rowsMax = 500;

export function openMetricHistory({ database, write }: Store, clock: Clock): MetricHistory {
  const put = database.prepare(
    "INSERT INTO metrics (key, timestamp, value) VALUES (@key, @timestamp, @value) ON CONFLICT DO UPDATE SET value = @value",
  );
  // SQLite takes the other columns from the row that has the maximum.
  const last = database.prepare<[], Metric>("SELECT key, max(timestamp) AS timestamp, value FROM metrics GROUP BY key");
  const page = pager<Metric>(database, {
    select: "SELECT key, timestamp, value FROM metrics",
    order: ["timestamp"],
    descending: true,
  });
  const ending = new AbortController();
  let noted = new Map<string, Metric>();
  let waits: Promise<void> | undefined;

  const flush = async () => {
    const all = [...noted.values()];
    noted = new Map();
    for (let at = 0; at < all.length; at += rowsMax) {
      await write("metrics", () => {
        for (const metric of all.slice(at, at + rowsMax)) put.run(metric);
      });
    }
  };
  const later = async () => {
    await clock.sleep(everyMs, ending.signal);
    waits = undefined;
    await flush();
  };
  return {
    note(metric) {
      noted.set(metric.key, metric);
      // Best effort: a metric that a full disk refuses is not worth refusing the caller, who was answered long ago.
      waits ??= later().catch(() => {});
    },
    last: () => last.all(),
    values: (key, since, until, limit, cursor) =>
      page(
        [
          ["key = ?", key],
          ["timestamp >= ?", since || undefined],
          ["timestamp < ?", until || undefined],
        ],
        limit,
        cursor,
      ),
    async close() {
      ending.abort(new Error("aios-memory is ending"));
      await waits;
      await flush();
    },
  };
}
