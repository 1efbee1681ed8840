import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { silentLog } from "#lib/log";
import { durableTwin } from "../testing/further-twin.ts";
import { loadCron } from "./cron.ts";
import { openSchedules, type Schedule } from "./schedules.ts";

const noon = Date.UTC(2026, 2, 28, 12);
const dayMs = 86_400_000;
const minute = (at: number) => new Date(Math.floor(at / 60_000) * 60_000).toISOString().slice(0, 16);
const daily = {
  cron: "30 3 * * *",
  timeZone: "Europe/Berlin",
  goal: "check system health",
  priority: 2,
  by: "core",
  role: "" as const,
};

/** Schedules whose goals cannot be given while there is a reason in `refusals`; `during` lets time pass while they run. */
function open(clock: ManualClock, record = durableTwin<readonly Schedule[]>([])) {
  const given: number[] = [];
  const ids: string[] = [];
  const refusals: string[] = [];
  const told: string[] = [];
  const open: { goal?: string } = {};
  const schedules = openSchedules({
    ...{ record, clock, log: silentLog, loadCron },
    submit: async (_, id) => {
      const refusal = refusals[0];
      if (refusal !== undefined) throw new AiosError("UNAVAILABLE", refusal);
      if (open.goal !== undefined) return open.goal;
      given.push(clock.now());
      ids.push(id);
      return id;
    },
    told: (_, what) => told.push(what),
  });
  const during = async (...acts: (() => unknown)[]) => {
    const stop = new AbortController();
    const run = schedules.run(stop.signal);
    for (const act of acts) await act();
    stop.abort();
    await run;
  };
  return { given, ids, refusals, told, open, record, schedules, during };
}

describe("schedules", () => {
  it("fire at the time of their zone, also over a change to summer time", async () => {
    const clock = new ManualClock(noon);
    const { given, ids, schedules } = open(clock);
    await schedules.create({ ...daily, cron: "30 3 * * *" });
    const stop = new AbortController();
    const run = schedules.run(stop.signal);
    await clock.advance(2 * 86_400_000);
    stop.abort();
    await run;
    // In the night to the 29th the clocks go from 2 to 3.
    expect(given.map((at) => new Date(Math.floor(at / 60_000) * 60_000).toISOString())).toEqual([
      "2026-03-29T01:30:00.000Z",
      "2026-03-30T01:30:00.000Z",
    ]);
    expect(schedules.list()).toMatchObject([{ lastGoal: ids[1] }]);
  });

  it("that were missed several times while the machine was off are run once", async () => {
    const before = open(new ManualClock(noon));
    await before.schedules.create(daily);
    const clock = new ManualClock(noon + 5 * 86_400_000);
    const after = open(clock, before.record);
    const stop = new AbortController();
    const run = after.schedules.run(stop.signal);
    await clock.advance(60_000);
    stop.abort();
    await run;
    expect(after.given).toHaveLength(1);
  });

  it.each([
    ["a field too many", { cron: "0 0 0 0 0 0 0" }],
    ["a wrong hour", { cron: "0 25 * * *" }],
    ["no zone", { timeZone: "Mars/Olympus" }],
    ["very many words", { cron: "0 ".repeat(50_000) }],
    ["a very long field", { cron: `0 0 ${"🕰".repeat(50_000)} * *` }],
    ["a very long zone", { timeZone: "Europe/".repeat(20_000) }],
    ["a step from a number", { cron: "0 2/12 * * *" }],
    ["a range that ends before it begins", { cron: "0 22-2/2 * * *" }],
    ["a step of nothing", { cron: "*/0 2 * * *" }],
    ["no goal", { goal: " " }],
    ["a wrong priority", { priority: 4 }],
  ])("with %s are refused", async (_, more) => {
    const { schedules } = open(new ManualClock(noon));
    const refusal = await schedules.create({ ...daily, ...more }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(messageOf(refusal).length).toBeLessThan(700);
    expect(schedules.list()).toEqual([]);
  });

  it("with an id of their giver's are there once, and the id of another one is refused", async () => {
    const { schedules } = open(new ManualClock(noon));
    const id = "01a22c55-0000-7000-8000-000000000001";
    const first = await schedules.create({ ...daily, id });
    expect(await schedules.create({ ...daily, id })).toBe(first);
    expect(schedules.list()).toEqual([first]);
    for (const other of [{ goal: "another" }, { timeZone: "UTC" }, { priority: 1 }])
      await expect(schedules.create({ ...daily, id, ...other })).rejects.toThrow(/is another schedule's id/);
    await expect(schedules.create({ ...daily, id: "x" })).rejects.toThrow(/"x" is no UUID/);
  });

  it("are removed once", async () => {
    const { schedules } = open(new ManualClock(noon));
    const { id } = await schedules.create(daily);
    schedules.remove(id);
    expect(() => schedules.remove(id)).toThrow(/there is none/);
  });

  it.each([
    ["30 2,14 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:30", "2026-10-25T13:30"]],
    ["30 2,14 * * *", "2026-03-28T23:00Z", ["2026-03-29T01:00", "2026-03-29T12:30"]],
    ["0,30 2 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:00", "2026-10-25T00:30"]],
    ["0,30 2 * * *", "2026-03-28T23:00Z", ["2026-03-29T01:00"]],
    ["30 2-3 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:30", "2026-10-25T02:30"]],
    ["30 2 * * *", "2026-03-28T23:00Z", ["2026-03-29T01:00"]],
    ["*/30 2 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:00", "2026-10-25T00:30"]],
    ["*/20 2 * * *", "2026-03-28T23:00Z", ["2026-03-29T01:00"]],
    ["10-50/20 2 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:10", "2026-10-25T00:30", "2026-10-25T00:50"]],
    ["0 2-23/12 * * *", "2026-10-24T22:00Z", ["2026-10-25T00:00", "2026-10-25T13:00"]],
    ["5 */8 * * *", "2026-10-24T22:00Z", ["2026-10-24T22:05", "2026-10-25T07:05", "2026-10-25T15:05"]],
  ])("of named hours (%s) run once for each on the day from %s, whose clocks change", async (cron, from, runs) => {
    const clock = new ManualClock(Date.parse(from));
    const { given, schedules, during } = open(clock);
    await schedules.create({ ...daily, cron });
    await during(() => clock.advance(22 * 3_600_000));
    expect(given.map(minute)).toEqual(runs);
  });

  it.each([
    // In Nuuk the clock jumps from 23:00 to the next day.
    ["America/Nuuk", "30 23 * * *", "2027-03-27T12:00Z", ["2027-03-28T01:00", "2027-03-29T00:30"]],
    ["America/Nuuk", "30 23 * * *", "2026-10-24T12:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]],
    ["Africa/Cairo", "0 */24 * * *", "2027-04-29T12:00Z", ["2027-04-29T22:00", "2027-04-30T21:00"]],
    ["America/Havana", "0 0 * * *", "2026-11-01T00:00Z", ["2026-11-01T04:00", "2026-11-02T05:00"]],
    ["America/Havana", "*/60 */24 * * *", "2026-11-01T00:00Z", ["2026-11-01T04:00", "2026-11-02T05:00"]],
    ["Europe/Berlin", "? 2 * * 7", "2027-03-27T12:00Z", ["2027-03-28T01:00"]],
    ["Europe/Berlin", "@daily", "2026-10-24T12:00Z", ["2026-10-24T22:00", "2026-10-25T23:00"]],
    [
      "Europe/Berlin",
      "0 00-23/012 * * *",
      "2026-10-24T12:00Z",
      ["2026-10-24T22:00", "2026-10-25T11:00", "2026-10-25T23:00"],
    ],
    ["Australia/Lord_Howe", "45 1 * * *", "2027-04-03T10:00Z", ["2027-04-03T14:45", "2027-04-04T15:15"]],
    [
      "Australia/Lord_Howe",
      "15,45 2 * * *",
      "2026-10-03T12:00Z",
      ["2026-10-03T15:30", "2026-10-03T15:45", "2026-10-04T15:15", "2026-10-04T15:45"],
    ],
    [
      "America/St_Johns",
      "30 0-2 * * *",
      "2026-11-01T00:00Z",
      ["2026-11-01T03:00", "2026-11-01T04:00", "2026-11-01T06:00"],
    ],
    [
      "Australia/Lord_Howe",
      "45 * * * *",
      "2027-04-03T14:00Z",
      ["2027-04-03T14:45", "2027-04-03T15:15", "2027-04-03T16:15"],
    ],
  ])("in %s (%s) run once for each hour that is named, from %s on", async (timeZone, cron, from, runs) => {
    const nextRun = await loadCron();
    const told: string[] = [];
    for (let at = Date.parse(from); told.length < runs.length; ) {
      at = nextRun(cron, timeZone, at) ?? Number.NaN;
      told.push(minute(at));
    }
    expect(told).toEqual(runs);
  });

  it("are told of once when they cannot be read any more, and stop no other", async () => {
    const clock = new ManualClock(noon);
    const before = open(clock);
    const first = await before.schedules.create(daily);
    await before.schedules.create({ ...daily, goal: "list services" });
    const old = { ...first, cron: "0 2/12 * * *" };
    const { given, told, schedules, during } = open(clock, durableTwin([old, ...before.record.value.slice(1)]));
    await during(() => clock.advance(2 * dayMs));
    expect(given).toHaveLength(2);
    expect(told).toEqual([expect.stringMatching(/^it is not run any more: read schedule "0 2\/12 /)]);
    expect(schedules.list()[0]).toMatchObject({ nextRun: 0, lastGoal: told[0] });
  });

  it("whose goal cannot be given are tried again, and run late", async () => {
    const clock = new ManualClock(noon);
    const { given, ids, refusals, told, schedules, during } = open(clock);
    await schedules.create(daily);
    refusals.push("memory is away");
    await during(
      () => clock.advance(dayMs),
      () => expect(schedules.list()).toMatchObject([{ lastGoal: "memory is away", lastRun: 0 }]),
      () => refusals.shift(),
      () => clock.advance(60_000),
    );
    expect(given.map(minute)).toEqual(["2026-03-29T12:00"]);
    expect(told).toEqual(["it was due at 2026-03-29 01:30 UTC, and is run once now"]);
    expect(schedules.list()).toMatchObject([{ nextRun: Date.UTC(2026, 2, 30, 1, 30), lastGoal: ids[0] }]);
    expect(new Set(ids).size).toBe(1);
  });

  it("whose goal cannot be given until their next time have missed the run, and it is told", async () => {
    const clock = new ManualClock(noon);
    const { given, refusals, told, schedules, during } = open(clock);
    await schedules.create(daily);
    refusals.push("memory is away");
    await during(() => clock.advance(2 * dayMs));
    expect(given).toEqual([]);
    expect(told).toEqual(["it was due at 2026-03-29 01:30 UTC, and its goal could not be given: memory is away"]);
    expect(schedules.list()).toMatchObject([{ nextRun: Date.UTC(2026, 2, 30, 1, 30) }]);
  });

  it("whose goal is not over are not given again, and that is told once", async () => {
    const clock = new ManualClock(noon);
    const { given, open: before, told, schedules, during } = open(clock);
    await schedules.create(daily);
    await during(
      () => clock.advance(dayMs),
      () => {
        before.goal = "the-first";
      },
      () => clock.advance(3 * dayMs),
    );
    expect(given).toHaveLength(1);
    const why = "not given again while its goal the-first is not over";
    expect(told).toEqual([why]);
    expect(schedules.list()).toMatchObject([{ lastGoal: why, nextRun: Date.UTC(2026, 3, 2, 1, 30) }]);
  });

  it("give the goal of a time under one id, also after a crash before that was stored", async () => {
    const clock = new ManualClock(noon);
    const before = open(clock);
    await before.schedules.create(daily);
    const record = durableTwin(before.record.value);
    await before.during(() => clock.advance(dayMs));
    const after = open(clock, record);
    await after.during(() => clock.advance(1_000));
    expect(after.ids).toEqual(before.ids);
  });

  it("that were told while the clock was ahead are told anew once it is right, while they run and after a start", async () => {
    for (const whileRunning of [true, false]) {
      const clock = new ManualClock(Date.UTC(2031, 0, 1));
      const first = open(clock);
      await first.schedules.create(daily);
      await first.during(
        () => clock.advance(dayMs),
        () => whileRunning && clock.setTo(noon),
        () => clock.advance(60_000),
      );
      clock.setTo(noon + 60_000);
      const { schedules, given, during } = open(clock, first.record);
      await during(() => clock.advance(dayMs));
      expect(given.map(minute)).toEqual(["2026-03-29T01:30"]);
      expect(schedules.list()).toMatchObject([{ nextRun: Date.UTC(2026, 2, 30, 1, 30) }]);
    }
  });

  it("are not repeated when the clock is set back a little", async () => {
    const clock = new ManualClock(noon);
    const { given, schedules, during } = open(clock);
    await schedules.create({ ...daily, cron: "0 13 * * *", timeZone: "UTC" });
    await during(
      () => clock.advance(3_600_500),
      () => clock.setTo(noon + 3_590_000),
      () => clock.advance(120_000),
    );
    expect(given).toHaveLength(1);
  });
});
