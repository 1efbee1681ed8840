import type { Clock } from "#lib/clock";
import { openDatabase } from "#lib/sqlite";

/** One answered request to a provider. `at` is milliseconds since the epoch. */
export interface Usage {
  readonly provider: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number;
  readonly at: number;
  readonly agent: string;
  readonly taskId: string;
}

const migrations = [
  `CREATE TABLE usage (
     at INTEGER NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
     input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
     agent TEXT NOT NULL, task_id TEXT NOT NULL
   ) STRICT;
   CREATE INDEX usage_at ON usage (at);`,
];

/** Rows one answer holds at most. */
const recordsMax = 10_000;

const dayMs = 86_400_000;

export interface UsageStore {
  add(usage: Usage): void;
  /** The records of the last `days`, newest first, at most 10,000; of one provider or (empty) of all. */
  since(provider: string, days: number): Usage[];
  /** Spent since the first of this month (UTC), US dollars. */
  spentThisMonth(provider: string): number;
  close(): void;
}

/** What providers were asked and what it cost, kept in SQLite at `path`. */
export function openUsage(path: string, clock: Clock): UsageStore {
  const database = openDatabase(path, migrations);
  const insert = database.prepare(
    "INSERT INTO usage VALUES (@at, @provider, @model, @inputTokens, @outputTokens, @costUsd, @agent, @taskId)",
  );
  const select = database.prepare<[number, string, string, number], Usage>(
    `SELECT at, provider, model, input_tokens AS inputTokens, output_tokens AS outputTokens, cost_usd AS costUsd, agent, task_id AS taskId
     FROM usage WHERE at >= ? AND (? = '' OR provider = ?) ORDER BY at DESC LIMIT ?`,
  );
  const sum = database.prepare<[number, string], { spent: number }>(
    "SELECT coalesce(sum(cost_usd), 0) AS spent FROM usage WHERE at >= ? AND provider = ?",
  );
  return {
    add: (usage) => void insert.run(usage),
    since: (provider, days) => select.all(clock.now() - days * dayMs, provider, provider, recordsMax),
    spentThisMonth: (provider) => sum.get(monthStart(clock.now()), provider)?.spent ?? 0,
    close: () => void database.close(),
  };
}

function monthStart(now: number): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
}

/** Days of this month (UTC) after today. */
export function daysRemaining(now: number): number {
  const date = new Date(now);
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate() - date.getUTCDate();
}
