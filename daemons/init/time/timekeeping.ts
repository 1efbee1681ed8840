import { closeSync, existsSync, openSync, statSync, utimesSync } from "node:fs";
import { type Clock, systemClock } from "#lib/clock";
import type { ClockState } from "#lib/data/machine-state";
import { messageOf } from "#lib/errors";
import { layout } from "#manifest";
import type { Faults, Syscalls } from "../base/index.ts";
import type { Screen } from "../early/index.ts";
import { type Beginning, beginTime, clockFault } from "./start.ts";

/** The mark is set this often, and at shutdown. */
export const markEveryMs = 600_000;

/** Time since kernel start, not since this process began: what boot timelines count in. */
export function bootClock(kernelStartMs: number): Clock {
  return { ...systemClock, monotonic: () => Number(process.hrtime.bigint() / 1000n) / 1000 - kernelStartMs };
}

/** The mark of this machine, on its data volume. */
export const timeMark = `${layout.state}/clock`;

const markFault = "time mark";

/**
 * Remembers in the time of what lies at `path` that it was this late: for a machine whose clock has no battery. What cannot be
 * written is a fault, and done without.
 */
export function markTime(path: string, clock: Clock, faults: Faults): void {
  const seconds = clock.now() / 1000;
  try {
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o644));
    utimesSync(path, seconds, seconds);
    faults.clear(markFault);
  } catch (error) {
    const next =
      "without it a machine whose hardware clock stops begins earlier at the next boot; make room, or restart";
    faults.raise(markFault, `mark the time in ${path}: ${messageOf(error)}; ${next}`);
  }
}

/** Marks how late it is, for a boot whose clock has forgotten. */
export function rememberTime(clock: Clock, faults: Faults): void {
  if (existsSync(layout.state)) markTime(timeMark, clock, faults);
}

/** When the mark was set; undefined where there is none, or none that can be read. */
function markedMs(path: string): number | undefined {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return undefined;
  }
}

interface ClockNeeds {
  readonly clock: Clock;
  readonly syscalls: Pick<Syscalls, "setTime">;
  readonly faults: Faults;
  readonly screen: Pick<Screen, "say">;
  /** When the image was made, milliseconds since the epoch. */
  readonly floorMs: number;
  /** The file that {@link markTime} marks. */
  readonly mark: string;
  /** A time that has passed, by what the machine was handed; asked for only where its own clock cannot be believed. */
  passed(): Promise<number | undefined>;
}

/** How far the wall clock can be believed, as the API shows it. */
export interface TimeStatus {
  /** A time server has told it, or it is a host's. */
  readonly sure: boolean;
  /** The ground of the belief, and what keeps it from being sure. */
  readonly detail: string;
  /** When that was found out, milliseconds since the epoch. */
  readonly checkedAt: number;
}

/** The machine's knowledge of the time when it starts. */
export interface StartTime {
  readonly state: ClockState;
  /** In words, with what it rests on. */
  readonly detail: string;
}

/** Sets the clock to a time that can be believed. What cannot is a fault until a time server has told. */
export async function setClock(needs: ClockNeeds): Promise<StartTime> {
  const { clock, syscalls, faults, screen, mark } = needs;
  const markMs = markedMs(mark);
  const begin = (floorMs: number) => ({ floorMs, ...beginTime({ hardwareMs: clock.now(), floorMs, markMs }) });
  let begun = begin(needs.floorMs);
  if (begun.aheadMs > 0) begun = begin(Math.max(needs.floorMs, (await needs.passed()) ?? 0));
  const { floorMs, nowMs, from, aheadMs } = begun;
  const problems = [...begun.problems];
  if (from !== "the hardware clock" || nowMs > clock.now()) {
    try {
      syscalls.setTime(nowMs);
      screen.say(`aios-init: clock set to ${new Date(nowMs).toISOString()}, by ${from}`);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  if (problems.length > 0) faults.raise(clockFault, `clock: ${problems.join("; ")}; ${goesOn(begun)}`);
  return { state: { sure: false, earliestMs: floorMs, aheadMs }, detail: `by ${from}` };
}

function goesOn({ nowMs, from }: Beginning): string {
  const next = "name time servers in [network] ntp_servers, or set the hardware clock in the firmware";
  return `going on with ${new Date(nowMs).toISOString()}, by ${from}; ${next}`;
}
