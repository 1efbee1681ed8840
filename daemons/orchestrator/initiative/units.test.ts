import { expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { Unit, UnitState } from "#proto/aios/init";
import { followUnits } from "./units.ts";

const unit = (state: UnitState, more: Partial<Unit> = {}) =>
  Unit.fromPartial({
    ...{ name: "nginx", state, startedAt: 1, managed: true, wanted: true, reason: "ended by SIGKILL" },
    ...more,
  });
const ended = unit(UnitState.UNIT_STOPPED);

/** What is told when init streams these, one stream after the other. */
async function toldOf(...streams: Unit[][]): Promise<string[]> {
  const clock = new ManualClock();
  const told: string[] = [];
  const stop = new AbortController();
  const watchUnits = async function* () {
    const units = streams.shift();
    if (units === undefined) return stop.abort();
    yield* units;
    throw new Error("init's stream has ended");
  };
  const tell = async ({ category, subject, detail }: { category: string; subject: string; detail: string }) =>
    void told.push(`${category} ${subject} ${detail}`);
  const followed = followUnits({ watchUnits }, tell, { clock, log: silentLog }, stop.signal);
  for (let second = 0; second < 5; second += 1) await clock.advance(1_000);
  await followed;
  return told;
}

it("an end that nobody asked for is told once, also when init's stream begins anew, and the next one too", async () => {
  const ready = unit(UnitState.UNIT_READY);
  const again = unit(UnitState.UNIT_BACKOFF, { startedAt: 2, reason: "ended with exit code 1" });
  const crash = unit(UnitState.UNIT_CRASH_LOOP, { startedAt: 3, reason: "ended with exit code 1" });
  expect(await toldOf([ready, ended, ended], [ended, ready, again], [crash])).toEqual([
    "unit.ended nginx ended by SIGKILL",
    "unit.ended nginx ended with exit code 1",
    "unit.ended nginx ended with exit code 1",
  ]);
});

it("what was stopped on demand, what runs, and the daemons of aiOS are not told", async () => {
  expect(
    await toldOf([
      { ...ended, wanted: false },
      { ...ended, managed: false },
      unit(UnitState.UNIT_READY),
      unit(UnitState.UNIT_STARTING),
      unit(UnitState.UNIT_WAITING),
    ]),
  ).toEqual([]);
});
