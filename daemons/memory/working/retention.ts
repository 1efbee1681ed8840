/**
 * A goal's tasks stay as long as the goal (90 days after its end), though other records of the working memory stay 30
 * and metrics 7: a goal without its tasks explains nothing. The journal does not age either.
 */
import { finalStatuses } from "../records.ts";
import { quoteAll, type Store } from "../store/index.ts";

const dayMs = 86_400_000;

/**
 * How long what is over is kept. A goal's tasks stay and go with it. Patterns and agents' states are what has been learned:
 * they do not age. Rows of one transaction: a longer one would hold up the calls, and a goal takes its tasks along.
 */
const retention = [
  {
    table: "goals",
    key: "id",
    where: `completed_at > 0 AND completed_at < ? AND status IN (${quoteAll(finalStatuses)})`,
    days: 90,
    rows: 20,
  },
  { table: "tool_calls", key: "id", where: "timestamp < ?", days: 30, rows: 200 },
  { table: "decisions", key: "id", where: "timestamp < ?", days: 30, rows: 200 },
  { table: "events", key: "id", where: "timestamp < ?", days: 30, rows: 200 },
  { table: "metrics", key: "key, timestamp", where: "timestamp < ?", days: 7, rows: 500 },
] as const;

/** Deletes one batch of what is past its time; resolves to how many rows that were. */
export function openRetention({ database, write }: Store): (nowMs: number) => Promise<number> {
  const deletes = retention.map(({ table, key, where, days, rows }) => ({
    statement: database.prepare<[number]>(
      `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE ${where} LIMIT ${rows})`,
    ),
    // Looked for first: a commit that deletes nothing is a write to the disk too.
    found: database.prepare<[number]>(`SELECT 1 FROM ${table} WHERE ${where} LIMIT 1`),
    ageMs: days * dayMs,
    table,
  }));
  return async (now) => {
    let deleted = 0;
    for (const { statement, found, ageMs, table } of deletes) {
      if (found.get(now - ageMs) === undefined) continue;
      deleted += await write(`what is past its time of ${table}`, () => statement.run(now - ageMs).changes);
    }
    return deleted;
  };
}
