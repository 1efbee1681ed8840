/**
 * What programs write is read at a bounded rate. A unit's log takes 1,000 lines or 512 KiB a second; the rest is
 * counted and said in one line, the last words of a program that ends are kept, and 4 MiB a second is all that PID 1
 * reads of a unit, 12 MiB of all together: who writes more waits. Lines are in the order of writing, whatever the clock
 * says.
 */
import type { Clock } from "#lib/clock";

export const allowanceLimits = {
  /** A unit's log takes this much in {@link windowMs}. The rest is read and dropped. */
  lines: 1_000,
  bytes: 512 * 1024,
  /**
   * This much is read in that time, and no more: whoever writes faster waits. Reading costs PID 1 time, dropped or not.
   */
  bytesRead: 4 * 1024 * 1024,
  /** All units together may write this much: many that write fast are no reason to be slow either. */
  bytesReadOfAll: 12 * 1024 * 1024,
  windowMs: 1_000,
} as const;

/** How much more a unit's log takes in the window of time that is open. */
export interface Allowance {
  /** Whether this many bytes, which have been read, are to be taken. */
  takes(bytes: number): boolean;
  /** Whether another line is to be taken; one that is not counts as dropped. */
  takesLine(): boolean;
  /** Counts lines that were dropped. */
  drop(lines: number): void;
  /** Says at once how many were dropped, rather than at the window's end. */
  tell(): void;
  /** Nothing more is to be read until this resolves; undefined while there is room. */
  full(): Promise<void> | undefined;
}

export const droppedLines = (count: number) =>
  `aios-init: dropped ${count} lines: they came faster than a log may grow`;

/** Counts the bytes read from all units together in the present window of time. */
interface Intake {
  add(bytes: number): void;
  /** As {@link Allowance.full}. */
  full(): Promise<void> | undefined;
}

export function openIntake(clock: Clock): Intake {
  let since = Number.NEGATIVE_INFINITY;
  let bytes = 0;
  return {
    add(more) {
      if (clock.monotonic() - since >= allowanceLimits.windowMs) [since, bytes] = [clock.monotonic(), 0];
      bytes += more;
    },
    full() {
      if (bytes < allowanceLimits.bytesReadOfAll) return undefined;
      return clock.sleep(Math.max(0, since + allowanceLimits.windowMs - clock.monotonic()));
    },
  };
}

/** `say` gets one line at the end of each window in which lines were dropped. */
export function openAllowance(clock: Clock, intake: Intake, say: (line: string) => void): Allowance {
  let since = Number.NEGATIVE_INFINITY;
  let [lines, bytes, dropped] = [0, 0, 0];
  let ending: Promise<void> | undefined;

  const tell = () => {
    if (dropped > 0) say(droppedLines(dropped));
    dropped = 0;
  };
  const begin = () => {
    [since, lines, bytes] = [clock.monotonic(), 0, 0];
    tell();
  };
  const beginInTime = () => {
    if (clock.monotonic() - since >= allowanceLimits.windowMs) begin();
  };
  const windowEnd = () => {
    ending ??= clock.sleep(Math.max(0, since + allowanceLimits.windowMs - clock.monotonic())).then(() => {
      ending = undefined;
      begin();
    });
    return ending;
  };
  const drop = (more: number) => {
    dropped += more;
    void windowEnd();
  };

  return {
    takes(more) {
      beginInTime();
      bytes += more;
      intake.add(more);
      return bytes <= allowanceLimits.bytes && lines < allowanceLimits.lines;
    },
    takesLine() {
      beginInTime();
      lines += 1;
      if (lines <= allowanceLimits.lines) return true;
      drop(1);
      return false;
    },
    drop,
    tell,
    full: () => (bytes < allowanceLimits.bytesRead ? intake.full() : windowEnd()),
  };
}
