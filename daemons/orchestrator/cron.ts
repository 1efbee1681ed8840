import { AiosError, messageOf } from "#lib/errors";
import { cut } from "#lib/text";

/** The moment after `afterMs` that a cron expression names in a time zone; undefined when there is none any more. */
export type NextRun = (expression: string, timeZone: string, afterMs: number) => number | undefined;

/** Loads the cron library: only a machine with a schedule reads it. */
export async function loadCron(): Promise<NextRun> {
  const { Cron } = await import("croner");
  return (expression, timeZone, afterMs) => {
    try {
      // Never started: it only tells times. What names its hours runs once for each, also where a summer time repeats or leaves out one.
      const rules = { paused: true, mode: "5-part", fixedTimeRule: "no-wildcard" } as const;
      const cron = new Cron(withNamedHours(expression), { timezone: timeZone, ...rules });
      return cron.nextRun(new Date(afterMs))?.getTime();
    } catch (error) {
      throw new AiosError("INVALID_ARGUMENT", {
        act: "read schedule",
        object: `"${cut(expression, 100)}" in ${cut(timeZone, 60)}`,
        // It quotes what it does not understand, whole.
        reason: cut(messageOf(error), 200),
        next: 'five fields (minute hour day month weekday) such as "0 3 * * *", and a time zone such as Europe/Berlin',
      });
    }
  };
}

/**
 * Steps of hours, and of minutes in named hours, written out: the library takes a star or a step for "by the clock", which runs
 * twice what an autumn night repeats, and leaves out a whole day in spring.
 */
function withNamedHours(expression: string): string {
  const [minute = "", hour = "", ...days] = expression.trim().split(/\s+/);
  if (days.length !== 3 || ["*", "*/1", "?"].includes(hour)) return expression;
  return [writtenOut(minute, 59), writtenOut(hour, 23), ...days].join(" ");
}

function writtenOut(field: string, last: number): string {
  const parts = field.split(",").map((part) => {
    const [, from = "0", to = String(last), step = "1"] =
      /^(?:\*|(\d{1,2})-(\d{1,2}))(?:\/([1-9]\d?))?$/.exec(part) ?? [];
    if (!/[*/]/.test(part) || Number(to) > last || Number(from) > Number(to) || Number(step) > last) return part;
    return Array.from({ length: last + 1 }, (_, at) => at)
      .filter((at) => at >= Number(from) && at <= Number(to) && (at - Number(from)) % Number(step) === 0)
      .join();
  });
  return parts.join();
}
