import type { Clock } from "#lib/clock";
import type { Sqlite } from "#lib/sqlite";

/** One request to a provider. `at` is milliseconds since the epoch. */
export interface Usage {
  readonly provider: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number;
  readonly at: number;
  readonly agent: string;
  readonly taskId: string;
  /** "cut": no whole answer came; the tokens are estimated. */
  readonly outcome: "answered" | "cut";
}

/** Which records; an empty text is any. */
export interface UsageFilter {
  readonly provider: string;
  readonly model: string;
  readonly agent: string;
  readonly taskId: string;
  readonly days: number;
}

export interface UsageTotals {
  readonly costUsd: number;
  readonly requests: number;
  readonly tokens: number;
}

/** Records one answer holds at most; the totals are of all. */
const recordsMax = 10_000;

/** Records are kept this long. */
const keptDays = 400;

const dayMs = 86_400_000;

export interface UsageStore {
  add(usage: Usage): void;
  /** What fits the filter, newest first, at most 10,000 of them; and the totals of all that fits. */
  find(filter: UsageFilter): { readonly records: Usage[]; readonly totals: UsageTotals };
  /** Spent since the first of this month (UTC), US dollars. */
  spentThisMonth(provider: string): number;
  /** Whether this month's alert at so many percent has been given; `give` keeps that it has. */
  alerted(provider: string, percent: number): boolean;
  give(provider: string, percent: number): void;
}

const matching = `FROM usage WHERE at >= @since AND (@provider = '' OR provider = @provider) AND (@model = '' OR model = @model)
  AND (@agent = '' OR agent = @agent) AND (@taskId = '' OR task_id = @taskId)`;

type Match = Omit<UsageFilter, "days"> & { readonly since: number };

/** What providers were asked and what it cost. */
export function openUsage(database: Sqlite, clock: Clock): UsageStore {
  database.prepare("DELETE FROM usage WHERE at < ?").run(clock.now() - keptDays * dayMs);
  const insert = database.prepare(
    `INSERT INTO usage (at, provider, model, input_tokens, output_tokens, cost_usd, agent, task_id, outcome)
     VALUES (@at, @provider, @model, @inputTokens, @outputTokens, @costUsd, @agent, @taskId, @outcome)`,
  );
  const select = database.prepare<[Match], Usage>(
    `SELECT at, provider, model, input_tokens AS inputTokens, output_tokens AS outputTokens, cost_usd AS costUsd, agent,
       task_id AS taskId, outcome ${matching} ORDER BY at DESC LIMIT ${recordsMax}`,
  );
  const total = database.prepare<[Match], UsageTotals>(
    `SELECT coalesce(sum(cost_usd), 0) AS costUsd, count(*) AS requests,
       coalesce(sum(input_tokens + output_tokens), 0) AS tokens ${matching}`,
  );
  const sum = database.prepare<[number, string], { spent: number }>(
    "SELECT coalesce(sum(cost_usd), 0) AS spent FROM usage WHERE at >= ? AND provider = ?",
  );
  const given = database.prepare<[string, number, number]>(
    "SELECT 1 FROM alert WHERE provider = ? AND month = ? AND percent = ?",
  );
  const give = database.prepare("INSERT OR IGNORE INTO alert (provider, month, percent) VALUES (?, ?, ?)");

  // A month's sum is read once and then kept up: it is asked for before each request.
  let month = 0;
  const spent = new Map<string, number>();
  const spentOf = (provider: string): number => {
    const now = monthStart(clock.now());
    if (now !== month) spent.clear();
    month = now;
    const known = spent.get(provider) ?? sum.get(month, provider)?.spent ?? 0;
    spent.set(provider, known);
    return known;
  };
  return {
    add(usage) {
      const before = spentOf(usage.provider);
      insert.run(usage);
      if (usage.at >= month) spent.set(usage.provider, before + usage.costUsd);
    },
    find({ days, ...filter }) {
      const match = { ...filter, since: clock.now() - days * dayMs };
      return { records: select.all(match), totals: total.get(match) ?? { costUsd: 0, requests: 0, tokens: 0 } };
    },
    spentThisMonth: spentOf,
    alerted: (provider, percent) => given.get(provider, monthStart(clock.now()), percent) !== undefined,
    give: (provider, percent) => void give.run(provider, monthStart(clock.now()), percent),
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
