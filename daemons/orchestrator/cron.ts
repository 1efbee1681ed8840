import { AiosError, messageOf } from "#lib/errors";

/** The moment after `afterMs` that a cron expression names in a time zone; undefined when there is none any more. */
export type NextRun = (expression: string, timeZone: string, afterMs: number) => number | undefined;

/** Loads the cron library: only a machine with a schedule reads it. */
export async function loadCron(): Promise<NextRun> {
  const { Cron } = await import("croner");
  return (expression, timeZone, afterMs) => {
    try {
      // Never started: it only tells times. What names its hours runs once for each, also where a summer time repeats or leaves out one.
      const rules = { paused: true, mode: "5-part", fixedTimeRule: "no-wildcard" } as const;
      const cron = new Cron(expression, { timezone: timeZone, ...rules });
      return cron.nextRun(new Date(afterMs))?.getTime();
    } catch (error) {
      throw new AiosError("INVALID_ARGUMENT", {
        act: "read schedule",
        object: `"${expression}" in ${timeZone}`,
        reason: messageOf(error),
        next: 'five fields (minute hour day month weekday) such as "0 3 * * *", and a time zone such as Europe/Berlin',
      });
    }
  };
}
