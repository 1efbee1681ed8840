/**
 * A schedule's next run is stored before its goal is given: a crash loses a run at most, and never repeats one.
 */
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import { uuidOf, uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import { checkExecutionId, executionHeader } from "#lib/rpc/service";
import { cut } from "#lib/text";
import { type Durable, fieldsOf, listOf } from "../durable.ts";
import type { NextRun } from "./cron.ts";

/** A goal that is given again and again. Times are milliseconds since the epoch, 0 = never. */
export interface Schedule {
  readonly id: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly goal: string;
  readonly priority: number;
  /** The maker: its goals come from "schedule:<id>", on behalf of this identity. */
  readonly by: string;
  /** The role that they had then; empty for no person. */
  readonly role: Role | "";
  readonly createdAt: number;
  readonly lastRun: number;
  /** When it is due next; 0 when no time is left that it names. */
  readonly nextRun: number;
  /** The goal of the last run, or why none was given at the last time. */
  readonly lastGoal: string;
}

/** Whether a value read from a file is a list of them. */
export const isScheduleList = listOf(
  fieldsOf({
    ...{
      id: "string",
      cron: "string",
      timeZone: "string",
      goal: "string",
      priority: "number",
      by: "string",
      role: "string",
    },
    ...{ createdAt: "number", lastRun: "number", nextRun: "number", lastGoal: "string" },
  }),
);

export interface Schedules {
  list(): readonly Schedule[];
  /**
   * With an id of its giver's it is there once however often it is asked for. Throws INVALID_ARGUMENT for what is no cron expression,
   * time zone or goal, and for the id of another one, RESOURCE_EXHAUSTED when there are too many.
   */
  create(
    wanted: Pick<Schedule, "cron" | "timeZone" | "goal" | "priority" | "by" | "role"> & {
      readonly id?: string | undefined;
    },
  ): Promise<Schedule>;
  /** Throws NOT_FOUND. */
  remove(id: string): void;
  /**
   * Runs until `signal` is aborted. One that was due while the machine was off is run once; one whose goal cannot be given is tried
   * again until its next time.
   */
  run(signal: AbortSignal): Promise<void>;
}

const schedulesMax = 200;
const goalLengthMax = 4_096;

/** How long it sleeps at most: the wall clock may be set meanwhile. */
const lookEveryMs = 30_000;

/** A run that comes so much later than it was due is told of. */
const lateMs = 300_000;

/** A clock that is set back by less repeats no run; after more, times are told anew from what it says now. */
const stepMs = 3_600_000;

/** The wall clock is taken to be set when it goes unlike the monotonic one by more. */
const driftMs = 2_000;

interface SchedulesParts {
  readonly record: Durable<readonly Schedule[]>;
  readonly clock: Clock;
  readonly log: Log;
  loadCron(): Promise<NextRun>;
  /** Gives the goal of this id, and resolves with its id, or with that of one that is not over yet. Throws when it cannot be given now. */
  submit(schedule: Schedule, id: string): Promise<string>;
  /** Tells of a run that was missed, late, or gave no goal, in words. */
  told(schedule: Schedule, what: string): void;
}

export function openSchedules(parts: SchedulesParts): Schedules {
  const { record, clock, loadCron } = parts;
  const { runDue, tellAnew, withEach } = runsOf(parts);
  let wake = () => {};

  /** The next time that is to come: what is due and could not be given is looked at with each look. */
  const nextDue = (now: number) => Math.min(...record.value.map(({ nextRun }) => nextRun).filter((at) => at > now));

  return {
    list: () => record.value,
    async create({ id, cron, timeZone, goal, priority, by, role }) {
      checkExecutionId("create schedule", id);
      const known = record.value.find((one) => one.id === id);
      const given = { cron, timeZone, goal, priority, by };
      if (known !== undefined && Object.entries(given).every(([key, value]) => known[key as keyof Schedule] === value))
        return known;
      if (known !== undefined) throw wrongId(`${id} is another schedule's id; choose your own`);
      if (record.value.length >= schedulesMax) throw tooMany();
      checkWish(goal, priority);
      const now = clock.now();
      const nextRun = (await loadCron())(cron, timeZone, now);
      if (nextRun === undefined) {
        throw new AiosError("INVALID_ARGUMENT", `create schedule: "${cut(cron, 100)}" names no time to come`);
      }
      const schedule = { id: id ?? uuidv7(now), ...given, role, nextRun, createdAt: now, lastRun: 0, lastGoal: "" };
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
      // The clock may have been ahead when the record was written.
      let skewMs = Number.NaN;
      while (!signal.aborted) {
        const skewNowMs = clock.now() - clock.monotonic();
        if (!(Math.abs(skewNowMs - skewMs) <= driftMs)) await withEach(record.value, tellAnew);
        skewMs = skewNowMs;
        const now = clock.now();
        await withEach(
          record.value.filter(({ nextRun }) => nextRun > 0 && nextRun <= now),
          runDue,
        );
        const woken = new AbortController();
        wake = () => woken.abort();
        const waitMs = Math.max(1_000, Math.min(lookEveryMs, nextDue(clock.now()) - clock.now()));
        await clock.sleep(waitMs, AbortSignal.any([signal, woken.signal])).catch(() => {});
      }
    },
  };
}

/** Runs of schedules whose time has come, and their new times when the clock was set. */
function runsOf({ record, clock, log, loadCron, submit, told }: SchedulesParts) {
  const runDue = async (schedule: Schedule, nextRun: NextRun) => {
    const { id, cron, timeZone, nextRun: due } = schedule;
    const now = clock.now();
    // Counted from now on: of several missed times one run is made.
    const following = nextRun(cron, timeZone, Math.max(now, due)) ?? 0;
    try {
      // One goal for each time that is due, whatever is killed in between.
      const wanted = uuidOf(id, due);
      const goal = await submit(schedule, wanted);
      const lastGoal = goal === wanted ? goal : `not given again while its goal ${goal} is not over`;
      if (goal === wanted && now - due > lateMs) told(schedule, `it was due at ${moment(due)}, and is run once now`);
      if (goal !== wanted && schedule.lastGoal !== lastGoal) told(schedule, lastGoal);
      log.info("schedule ran", { schedule: id, goal: lastGoal });
      replace({ ...schedule, lastRun: now, nextRun: following, lastGoal });
    } catch (error) {
      const reason = messageOf(error);
      const next = nextRun(cron, timeZone, due) ?? 0;
      if (next === 0 || next > now) {
        if (schedule.lastGoal !== reason) replace({ ...schedule, lastGoal: reason });
        return;
      }
      told(schedule, `it was due at ${moment(due)}, and its goal could not be given: ${reason}`);
      replace({ ...schedule, nextRun: next, lastGoal: reason });
    }
  };
  /** Counts anew, from now on, the next time of a schedule that was counted while the clock was ahead. */
  const tellAnew = (schedule: Schedule, nextRun: NextRun) => {
    const now = clock.now();
    const { id, cron, timeZone, lastRun, nextRun: told, createdAt } = schedule;
    if (told <= now) return;
    const last = Math.max(lastRun, createdAt);
    const next = nextRun(cron, timeZone, last - now > stepMs ? now : Math.max(now, lastRun)) ?? 0;
    if (next === told) return;
    log.warn("the clock was set: a schedule's next time is told anew", { schedule: id, was: told, is: next });
    replace({ ...schedule, nextRun: next });
  };
  /** Does something with each; one that cannot be read any more, as an older version could, stops no other. */
  const withEach = async (list: readonly Schedule[], act: (schedule: Schedule, nextRun: NextRun) => unknown) => {
    if (list.length === 0) return;
    const nextRun = await loadCron();
    for (const schedule of list) {
      try {
        await act(schedule, nextRun);
      } catch (error) {
        log.error("a schedule could not be run", { schedule: schedule.id, error });
        if (!(error instanceof AiosError && error.code === "INVALID_ARGUMENT")) continue;
        const why = `it is not run any more: ${error.message}`;
        record.setAnyway(
          record.value.map((one) => (one.id === schedule.id ? { ...one, nextRun: 0, lastGoal: why } : one)),
        );
        told(schedule, why);
      }
    }
  };
  const replace = (schedule: Schedule) => {
    if (!record.value.some(({ id }) => id === schedule.id)) return;
    record.set(record.value.map((one) => (one.id === schedule.id ? schedule : one)));
  };

  return { runDue, tellAnew, withEach };
}

function checkWish(goal: string, priority: number): void {
  if (goal.trim() === "" || goal.length > goalLengthMax) {
    throw new AiosError("INVALID_ARGUMENT", `create schedule: goal_template: 1 to ${goalLengthMax} characters`);
  }
  if (!Number.isInteger(priority) || priority < 0 || priority > 3) {
    throw new AiosError("INVALID_ARGUMENT", `create schedule: priority: ${priority}, expected 0 to 3`);
  }
}

const moment = (at: number) => new Date(at).toISOString().slice(0, 16).replace("T", " ").concat(" UTC");

const wrongId = (reason: string) => new AiosError("INVALID_ARGUMENT", `create schedule: ${executionHeader}: ${reason}`);

function tooMany(): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", `create schedule: there are ${schedulesMax}; remove some first`);
}
