/**
 * croner is loaded by the first schedule. When a zone's clock shows a named hour `Temporal` tells: croner's version
 * 11.0.1 leaves out a day whose jump ends on the next one.
 */
import { AiosError, messageOf } from "#lib/errors";
import { cut } from "#lib/text";

/** The moment after `afterMs` that a cron expression names in a time zone; undefined when there is none any more. */
export type NextRun = (expression: string, timeZone: string, afterMs: number) => number | undefined;

/** Loads the cron library: only a machine with a schedule reads it. */
export async function loadCron(): Promise<NextRun> {
  const { Cron } = await import("croner");
  return (expression, timeZone, afterMs) => {
    try {
      const named = namesHours(expression);
      // Never started: it only tells times, those of a clock on the wall where hours are named.
      const cron = new Cron(expression, { timezone: named ? "UTC" : timeZone, paused: true, mode: "5-part" });
      const next = (after: number) => cron.nextRun(new Date(after))?.getTime();
      return named ? nextOnWall(next, timeZone, afterMs) : next(afterMs);
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

/** Whether hours are named: what runs in every hour goes by the hours that pass, also where the clock shows one twice. */
function namesHours(expression: string): boolean {
  const [minute = "", hour = ""] = expression.trim().split(/\s+/);
  return minute.toLowerCase() !== "@hourly" && !hour.split(",").some((part) => /^[*?](?:\/0*1)?$/.test(part));
}

/**
 * The next moment at which the clock of a zone shows one of the times that `next` tells: once for each. One that is shown twice
 * counts at the first, one that is left out when the clock jumps over it. The library leaves out a day whose jump ends on the next
 * one, and runs twice what is written with a star.
 */
function nextOnWall(
  next: (after: number) => number | undefined,
  timeZone: string,
  afterMs: number,
): number | undefined {
  const now = Temporal.Instant.fromEpochMilliseconds(afterMs).toZonedDateTimeISO(timeZone).toPlainDateTime();
  for (let shown = next(now.toZonedDateTime("UTC").epochMilliseconds); shown !== undefined; shown = next(shown)) {
    const at = momentOf(shown, timeZone);
    if (at > afterMs) return at;
  }
  return undefined;
}

/** When the clock of a zone shows a time first, or jumps over it. */
function momentOf(shown: number, timeZone: string): number {
  const plain = Temporal.Instant.fromEpochMilliseconds(shown).toZonedDateTimeISO("UTC").toPlainDateTime();
  const first = plain.toZonedDateTime(timeZone, { disambiguation: "earlier" });
  const jump = first.toPlainDateTime().equals(plain) ? undefined : first.getTimeZoneTransition("next");
  return (jump ?? first).epochMilliseconds;
}
