import type { Readable } from "node:stream";
import type { Clock } from "#lib/clock";
import { type Allowance, openAllowance, openIntake } from "./log-allowance.ts";
import { type LogFiles, openLogFiles } from "./log-files.ts";
import { readLines } from "./log-pipe.ts";

export interface LogLine {
  readonly unit: string;
  /** When it arrived, milliseconds since the epoch. */
  readonly timestamp: number;
  readonly text: string;
}

/** Where a unit's words go. */
export interface UnitLog {
  /** Takes what the unit writes to a pipe. */
  read(pipe: Readable): void;
  /** Takes a line about it. */
  say(line: string): void;
}

export interface Logs {
  /** Takes whole lines of init's own making. */
  write(unit: string, text: string): void;
  /** A unit's log, for its pipes. What comes faster than a log may grow is dropped, and that is said. */
  of(unit: string): UnitLog;
  /** The last lines of a unit, or of all when `unit` is "", the oldest first. */
  tail(unit: string, lines: number): LogLine[];
  /** The last `lines` and then each as it comes, until aborted. A slow reader misses lines, and is told how many. */
  follow(unit: string, lines: number, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Hears every line. */
  onLine(notice: (line: LogLine) => void): void;
  /** From now on lines go to files in `folder` too, also those that came before. */
  keepIn(folder: string): void;
  /** Writes what is not on disk yet; nothing goes to files any more. */
  close(): Promise<void>;
}

export const logLimits = {
  /** Lines kept in memory for each unit, and their characters. */
  lines: 2_000,
  length: 2 * 1024 * 1024,
  /** Lines waiting for a reader, beside those it began with. More are dropped. */
  followers: 1_000,
} as const;

/** A line and its place in the order of writing: the wall clock may be set back meanwhile. */
interface Kept extends LogLine {
  readonly place: number;
}

interface Ring {
  lines: Kept[];
  /** Characters in all. */
  length: number;
}

/** Trimmed a quarter at a time: shift() moves the whole ring. */
function keep(ring: Ring, line: Kept): void {
  ring.lines.push(line);
  ring.length += line.text.length;
  if (ring.lines.length <= logLimits.lines * 1.25 && ring.length <= logLimits.length * 1.25) return;
  let from = Math.max(0, ring.lines.length - logLimits.lines);
  for (const { text } of ring.lines.splice(0, from)) ring.length -= text.length;
  for (from = 0; ring.length > logLimits.length; from += 1) ring.length -= ring.lines[from]?.text.length ?? 0;
  ring.lines.splice(0, from);
}

/** The logs of all units: a bounded ring each in memory, and rotated files once there is a disk. */
export function openLogs(clock: Clock): Logs {
  const rings = new Map<string, Ring>();
  const allowances = new Map<string, Allowance>();
  const intake = openIntake(clock);
  let place = 0;
  const notices = new Set<(line: LogLine) => void>();
  let files: LogFiles | undefined;

  const add = (unit: string, text: string) => {
    const line = { unit, timestamp: clock.now(), text, place };
    place += 1;
    const ring = rings.get(unit) ?? { lines: [], length: 0 };
    rings.set(unit, ring);
    keep(ring, line);
    files?.append(unit, `${line.text}\n`);
    for (const notice of notices) notice(line);
  };

  const tail = (unit: string, lines: number) => {
    if (unit !== "") return rings.get(unit)?.lines.slice(-lines) ?? [];
    // No more of each: PID 1 has better to do than to sort all that its units ever said.
    const last = [...rings.values()].flatMap((ring) => ring.lines.slice(-lines));
    return last.sort((a, b) => a.place - b.place).slice(-lines);
  };

  return {
    write(unit, text) {
      for (const line of text.replace(/\n$/, "").split("\n")) add(unit, line);
    },
    of(unit) {
      // One for all pipes of a unit, its next start's too: a loop of crashes is no reason to write more.
      const allowance = allowances.get(unit) ?? openAllowance(clock, intake, (line) => add(unit, line));
      allowances.set(unit, allowance);
      const say = (line: string) => add(unit, line);
      return { say, read: (pipe) => readLines(pipe, allowance, say) };
    },
    tail,
    follow: (unit, lines, signal) => follow(unit, () => tail(unit, lines), signal, notices, clock),
    onLine: (notice) => notices.add(notice),
    keepIn(folder) {
      files = openLogFiles(folder);
      for (const [unit, ring] of rings) files.append(unit, ring.lines.map(({ text }) => `${text}\n`).join(""));
    },
    async close() {
      const open = files;
      files = undefined;
      await open?.close();
    },
  };
}

async function* follow(
  unit: string,
  tail: () => LogLine[],
  signal: AbortSignal,
  notices: Set<(line: LogLine) => void>,
  clock: Clock,
): AsyncIterable<LogLine> {
  const waiting: LogLine[] = tail();
  const longest = waiting.length + logLimits.followers;
  let missed = 0;
  let wake = () => {};
  const notice = (line: LogLine) => {
    if (unit !== "" && line.unit !== unit) return;
    if (waiting.length < longest) waiting.push(line);
    else missed += 1;
    wake();
  };
  notices.add(notice);
  signal.addEventListener("abort", () => wake(), { once: true });
  try {
    while (!signal.aborted) {
      // Those that were missed came after those that wait.
      const [lines, lost] = [waiting.splice(0), missed];
      missed = 0;
      yield* lines;
      if (lost > 0) {
        yield { unit: "init", timestamp: clock.now(), text: `${lost} lines missed: the reader is too slow` };
      }
      if (waiting.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    notices.delete(notice);
  }
}
