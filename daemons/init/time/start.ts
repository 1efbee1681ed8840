/**
 * Time has a floor. The clock is never behind the commit that the image was made of (`release.json`). A hardware clock
 * before that or more than five years after it, and a mark of the last shutdown that is more than a day ahead of a
 * hardware clock that runs, are faults that are told, and not believed. Until time servers have answered certificates
 * are made for whatever the time turns out to be (`Moment`, `run/machine-state.json`): they begin at the floor. A
 * machine that shares a host's clock never sets it.
 */

/** Clues to the time when a machine starts, milliseconds since the epoch. */
interface Clues {
  /** The hardware clock's time. */
  readonly hardwareMs: number;
  /** It is no earlier than this: the image was made then. */
  readonly floorMs: number;
  /** How late it was at the last shutdown, as the machine then thought. */
  readonly markMs?: number | undefined;
}

/** The time that a machine starts with. */
export interface Beginning {
  readonly nowMs: number;
  /** Where it is from. */
  readonly from: "the hardware clock" | "the last shutdown" | "the image's making";
  /** It may be this much later: 0 where the hardware clock can be believed. */
  readonly aheadMs: number;
  /** Clues that were not believed, and why; empty when all fits. */
  readonly problems: readonly string[];
}

/** Stands while the clock rests on what cannot be believed. */
export const clockFault = "clock";

const dayMs = 86_400_000;
/** An image in use for longer than this is less likely than a clock that is wrong. */
export const imageAgeMaxMs = 5 * 365 * dayMs;
/** A hardware clock may be this far off: it drifts while the machine is off, or is kept in local time. */
const driftMaxMs = dayMs;

/**
 * A clock that was ahead once leaves a mark that would set every later start ahead, and a certificate made in 1970 or in
 * 2099 is accepted by nobody later. So what is before the image's making, or far ahead of all else, is not believed.
 */
export function beginTime({ hardwareMs, floorMs, markMs }: Clues): Beginning {
  const latestMs = Math.max(floorMs, believedMark(markMs, floorMs + imageAgeMaxMs)) + imageAgeMaxMs;
  const runs = hardwareMs >= floorMs - driftMaxMs && hardwareMs <= latestMs;
  const baseMs = runs ? Math.max(hardwareMs, floorMs) : floorMs;
  const mark = believedMark(markMs, runs ? baseMs + driftMaxMs : floorMs + imageAgeMaxMs);
  const problems = [
    ...(runs ? [] : [hardwareProblem(hardwareMs, floorMs)]),
    ...(markMs === undefined || mark === markMs ? [] : [markProblem(markMs, baseMs, runs)]),
  ];
  const aheadMs = runs ? 0 : imageAgeMaxMs;
  if (mark > baseMs) return { nowMs: mark, from: "the last shutdown", aheadMs, problems };
  return { nowMs: baseMs, from: runs ? "the hardware clock" : "the image's making", aheadMs, problems };
}

/** A mark that is no later than it may be, else -Infinity. */
function believedMark(markMs: number | undefined, latestMs: number): number {
  return markMs !== undefined && markMs <= latestMs ? markMs : Number.NEGATIVE_INFINITY;
}

function hardwareProblem(hardwareMs: number, floorMs: number): string {
  const why =
    hardwareMs < floorMs
      ? `before this image was made (${day(floorMs)})`
      : `more than five years after this image was made (${day(floorMs)})`;
  return `the hardware clock says ${day(hardwareMs)}, ${why}`;
}

function markProblem(markMs: number, baseMs: number, runs: boolean): string {
  const than = runs ? "the hardware clock" : "this image's making";
  return `the mark of the last shutdown says ${day(markMs)}, far ahead of ${than} (${day(baseMs)})`;
}

export const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
