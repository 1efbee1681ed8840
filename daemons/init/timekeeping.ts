import { closeSync, openSync, statSync, utimesSync } from "node:fs";
import { type Clock, systemClock } from "#lib/clock";

/** The mark is set this often, and at shutdown. */
export const markEveryMs = 600_000;

/** Time since kernel start, not since this process began: what boot timelines count in. */
export function bootClock(kernelStartMs: number): Clock {
  return { ...systemClock, monotonic: () => Number(process.hrtime.bigint() / 1000n) / 1000 - kernelStartMs };
}

/** Remembers in a file's time that it was this late: for a machine whose clock has no battery. */
export function markTime(path: string, clock: Clock): void {
  closeSync(openSync(path, "a", 0o644));
  const seconds = clock.now() / 1000;
  utimesSync(path, seconds, seconds);
}

/**
 * Certificates and ledgers need time that does not run backwards: a clock that is behind the mark is set to the mark.
 * Gives back the time that was set, milliseconds since the epoch, or undefined when the clock was right enough.
 */
export function catchUp(path: string, clock: Clock, setTime: (nowMs: number) => void): number | undefined {
  const marked = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  if (marked === undefined || clock.now() >= marked) return undefined;
  setTime(marked);
  return marked;
}
