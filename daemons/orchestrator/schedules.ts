import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { NextRun } from "./cron.ts";
import type { Durable } from "./durable.ts";

/** A goal that is given again and again. Times are milliseconds since the epoch, 0 = never. */
export interface Schedule {
  readonly id: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly goal: string;
  readonly priority: number;
  /** Who made it: its goals come from "schedule:<id>", on behalf of this identity. */
  readonly by: string;
  readonly createdAt: number;
  readonly lastRun: number;
  /** When it is due next; 0 when no time is left that it names. */
  readonly nextRun: number;
  /** The goal of the last run, or why there is none. */
  readonly lastGoal: string;
}

export interface Schedules {
  list(): readonly Schedule[];
  /** Throws INVALID_ARGUMENT for what is no cron expression, time zone or goal, RESOURCE_EXHAUSTED when there are too many. */
  create(wanted: Pick<Schedule, "cron" | "timeZone" | "goal" | "priority" | "by">): Promise<Schedule>;
  /** Throws NOT_FOUND. */
  remove(id: string): void;
  /** Runs until `signal` is aborted. One that was due while the machine was off is run once. */
  run(signal: AbortSignal): Promise<void>;
}

export const schedulesMax = 200;
const goalLengthMax = 4_096;

/** How long it sleeps at most: the wall clock may be set meanwhile. */
const lookEveryMs = 30_000;

export interface SchedulesParts {
  readonly record: Durable<readonly Schedule[]>;
  readonly clock: Clock;
  readonly log: Log;
  loadCron(): Promise<NextRun>;
  /** Gives a goal, and resolves with its id. Throws when it cannot be given now. */
  submit(schedule: Schedule): Promise<string>;
}

export function openSchedules({ record, clock, log, loadCron, submit }: SchedulesParts): Schedules {
  let wake = () => {};

  const runDue = async (schedule: Schedule, nextRun: NextRun) => {
    const now = clock.now();
    // Counted from now on: of several missed times one run is made.
    const next = nextRun(schedule.cron, schedule.timeZone, now) ?? 0;
    // Before the goal is given: a crash here loses a run, the other order would repeat one.
    replace({ ...schedule, lastRun: now, nextRun: next });
    const lastGoal = await submit(schedule).catch((error) => messageOf(error));
    log.info("schedule ran", { schedule: schedule.id, goal: lastGoal });
    replace({ ...schedule, lastRun: now, nextRun: next, lastGoal });
  };
  const replace = (schedule: Schedule) => {
    if (!record.value.some(({ id }) => id === schedule.id)) return;
    record.set(record.value.map((one) => (one.id === schedule.id ? schedule : one)));
  };
  const nextDue = () => Math.min(...record.value.filter(({ nextRun }) => nextRun > 0).map(({ nextRun }) => nextRun));

  return {
    list: () => record.value,
    async create({ cron, timeZone, goal, priority, by }) {
      if (record.value.length >= schedulesMax) throw tooMany();
      if (goal.trim() === "" || goal.length > goalLengthMax) {
        throw new AiosError("INVALID_ARGUMENT", `create schedule: goal_template: 1 to ${goalLengthMax} characters`);
      }
      if (!Number.isInteger(priority) || priority < 0 || priority > 3) {
        throw new AiosError("INVALID_ARGUMENT", `create schedule: priority: ${priority}, expected 0 to 3`);
      }
      const now = clock.now();
      const nextRun = (await loadCron())(cron, timeZone, now);
      if (nextRun === undefined) {
        throw new AiosError("INVALID_ARGUMENT", `create schedule: "${cron}" names no time to come`);
      }
      const given = { cron, timeZone, goal, priority, by, nextRun };
      const schedule = { id: uuidv7(now), ...given, createdAt: now, lastRun: 0, lastGoal: "" };
      record.set([...record.value, schedule]);
      wake();
      return schedule;
    },
    remove(id) {
      if (!record.value.some((one) => one.id === id)) {
        throw new AiosError("NOT_FOUND", `remove schedule ${id}: there is none; see "aiosctl schedule list"`);
      }
      record.set(record.value.filter((one) => one.id !== id));
    },
    async run(signal) {
      while (!signal.aborted) {
        const due = record.value.filter(({ nextRun }) => nextRun > 0 && nextRun <= clock.now());
        if (due.length > 0) {
          const nextRun = await loadCron();
          for (const schedule of due) {
            await runDue(schedule, nextRun).catch((error) =>
              log.error("a schedule could not be run", { schedule: schedule.id, error }),
            );
          }
        }
        const woken = new AbortController();
        wake = () => woken.abort();
        const waitMs = Math.max(1_000, Math.min(lookEveryMs, nextDue() - clock.now()));
        await clock.sleep(waitMs, AbortSignal.any([signal, woken.signal])).catch(() => {});
      }
    },
  };
}

function tooMany(): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", `create schedule: there are ${schedulesMax}; remove some first`);
}
