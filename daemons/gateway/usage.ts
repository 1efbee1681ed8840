/**
 * What a request may cost at most, a token for each byte of its input and the whole of `max_tokens`, is written to the
 * disk before it is sent, so that questions asked at once cannot overspend together and none is asked that could not be
 * counted (a full disk asks nobody). What it did cost replaces that when it is answered; it stands for one that was cut
 * off, whose cost nobody tells, and for one that was under way when the gateway ended. An answer that was paid for is
 * given even when its cost cannot be written. A model without a price is not asked, since its budget could not be kept.
 */
import type { Clock } from "#lib/clock";
import type { Sqlite } from "#lib/data/sqlite";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";

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
  readonly outcome: Outcome;
}

/**
 * "answered": as the provider counted. Of all others what it may have cost at most: "asked" is under way, of "cut" no whole
 * answer came, and "unsettled" was under way when the gateway ended.
 */
type Outcome = "asked" | "answered" | "cut" | "unsettled";

/** A request's highest cost, on the disk before the provider is asked. Ended once. */
export interface Reservation {
  /** It was answered, or broken off, and cost this. Where that cannot be written the reservation stands. */
  settle(cost: Omit<Usage, "provider" | "at" | "agent" | "taskId">): void;
  /** It was broken off, and nobody knows what it cost: the reservation stands. */
  stand(): void;
  /** It was refused, and cost nothing. */
  release(): void;
}

/** Which records; an empty text is any. */
export interface UsageFilter {
  readonly provider: string;
  readonly model: string;
  readonly agent: string;
  readonly taskId: string;
  readonly days: number;
}

interface UsageTotals {
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
  /** Throws UNAVAILABLE when it cannot be written: then nothing may be asked. */
  reserve(most: Omit<Usage, "at" | "outcome">): Reservation;
  /** At most 10,000 entries that fit the filter, newest first, and the totals of all that fit. */
  find(filter: UsageFilter): { readonly records: Usage[]; readonly totals: UsageTotals };
  /** Spent and reserved since the first of this month (UTC), US dollars. */
  spentThisMonth(provider: string): number;
  /** Whether this month's alert at this percentage has been given; `give` keeps that it has. */
  alerted(provider: string, percent: number): boolean;
  give(provider: string, percent: number): void;
}

const matching = `FROM usage WHERE at >= @since AND (@provider = '' OR provider = @provider) AND (@model = '' OR model = @model)
  AND (@agent = '' OR agent = @agent) AND (@taskId = '' OR task_id = @taskId)`;

type Match = Omit<UsageFilter, "days"> & { readonly since: number };

/** A month (UTC): its first moment, that of the next, and the last record written before it. */
interface Month {
  readonly start: number;
  readonly end: number;
  readonly lastBefore: number;
}

/** The requests to providers and their cost. A request that was under way when the gateway ended counts as spent. */
export function openUsage(database: Sqlite, clock: Clock, log: Log): UsageStore {
  tidyUp(database, clock, log);
  const insert = database.prepare(
    `INSERT INTO usage (at, provider, model, input_tokens, output_tokens, cost_usd, agent, task_id, outcome)
     VALUES (@at, @provider, @model, @inputTokens, @outputTokens, @costUsd, @agent, @taskId, @outcome)`,
  );
  const settle = database.prepare(
    `UPDATE usage SET model = @model, input_tokens = @inputTokens, output_tokens = @outputTokens, cost_usd = @costUsd,
       outcome = @outcome WHERE rowid = @row`,
  );
  const stand = database.prepare("UPDATE usage SET outcome = 'cut' WHERE rowid = ?");
  const release = database.prepare("DELETE FROM usage WHERE rowid = ?");
  const select = database.prepare<[Match], Usage>(
    `SELECT at, provider, model, input_tokens AS inputTokens, output_tokens AS outputTokens, cost_usd AS costUsd, agent,
       task_id AS taskId, outcome ${matching} ORDER BY at DESC LIMIT ${recordsMax}`,
  );
  const total = database.prepare<[Match], UsageTotals>(
    `SELECT coalesce(sum(cost_usd), 0) AS costUsd, count(*) AS requests,
       coalesce(sum(input_tokens + output_tokens), 0) AS tokens ${matching}`,
  );
  // What was asked by a clock that was ahead counts until the month after; records lie in the order in which they were written.
  const sum = database.prepare<[Month & { provider: string }], { spent: number }>(
    `SELECT coalesce(sum(cost_usd), 0) AS spent FROM usage
     WHERE provider = @provider AND at >= @start AND (at < @end OR rowid > @lastBefore)`,
  );
  const lastBefore = database.prepare<[number], { row: number }>(
    "SELECT coalesce(max(rowid), 0) AS row FROM usage WHERE at < ?",
  );
  const given = database.prepare<[string, number, number]>(
    "SELECT 1 FROM alert WHERE provider = ? AND month = ? AND percent = ?",
  );
  const give = database.prepare("INSERT OR IGNORE INTO alert (provider, month, percent) VALUES (?, ?, ?)");

  // A month's sum is read once after each change: it is asked for before each request.
  let month: Month = { start: 0, end: 0, lastBefore: 0 };
  const spent = new Map<string, number>();
  const spentOf = (provider: string): number => {
    const start = monthStart(clock.now());
    if (start !== month.start) {
      month = { start, end: monthStart(start, 1), lastBefore: lastBefore.get(start)?.row ?? 0 };
      spent.clear();
    }
    const known = spent.get(provider) ?? sum.get({ ...month, provider })?.spent ?? 0;
    spent.set(provider, known);
    return known;
  };
  /** An answer that was paid for is given, whatever becomes of its entry. */
  const endRequest = (provider: string, write: () => void) => {
    try {
      write();
    } catch (error) {
      const reason = messageOf(error);
      log.error("what a request cost cannot be written: what it may cost at most counts", { provider, reason });
    }
    spent.delete(provider);
  };
  return {
    reserve(most) {
      const { provider } = most;
      const row = reserve(provider, () => insert.run({ ...most, at: clock.now(), outcome: "asked" })).lastInsertRowid;
      spent.delete(provider);
      return {
        settle: (cost) => endRequest(provider, () => settle.run({ ...cost, row })),
        stand: () => endRequest(provider, () => stand.run(row)),
        release: () => endRequest(provider, () => release.run(row)),
      };
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

function reserve<T>(provider: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const reason = `what it may cost cannot be written, and nothing is asked that could not be counted: ${messageOf(error)}`;
    const next = "make room on the data volume";
    throw new AiosError("UNAVAILABLE", { act: "ask", object: provider, reason, next }, { cause: error });
  }
}

/** A full disk keeps nobody from starting: what cannot be written now is written at the next start. */
function tidyUp(database: Sqlite, clock: Clock, log: Log): void {
  const open = database.prepare<[], { provider: string; requests: number; costUsd: number }>(
    "SELECT provider, count(*) AS requests, sum(cost_usd) AS costUsd FROM usage WHERE outcome = 'asked' GROUP BY provider",
  );
  for (const unsettled of open.all())
    log.warn(
      "requests were under way when the gateway ended: what they may have cost at most counts as spent",
      unsettled,
    );
  try {
    database.prepare("UPDATE usage SET outcome = 'unsettled' WHERE outcome = 'asked'").run();
    // By the last record, not by the clock alone: one that is ahead at a start must not cost what was spent this month.
    database
      .prepare("DELETE FROM usage WHERE at < (SELECT max(at) FROM usage WHERE at <= ?) - ?")
      .run(clock.now(), keptDays * dayMs);
  } catch (error) {
    log.warn("the records of usage cannot be written", { reason: messageOf(error) });
  }
}

function monthStart(now: number, later = 0): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later, 1);
}

/** Days of this month (UTC) after today. */
export function daysRemaining(now: number): number {
  const date = new Date(now);
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate() - date.getUTCDate();
}
