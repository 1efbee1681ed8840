import { appendFileSync, renameSync, statSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#lib/clock";

export interface LogLine {
  readonly unit: string;
  /** When it arrived, milliseconds since the epoch. */
  readonly timestamp: number;
  readonly text: string;
}

export interface Logs {
  /** Takes what a unit wrote; a line counts when its end has come. */
  write(unit: string, chunk: Buffer | string): void;
  /** The last lines of a unit, or of all when `unit` is "", the oldest first. */
  tail(unit: string, lines: number): LogLine[];
  /** The last `lines` and then each as it comes, until aborted. A slow reader misses lines, and is told how many. */
  follow(unit: string, lines: number, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Hears every line. */
  onLine(notice: (line: LogLine) => void): void;
  /** From now on lines go to files in `folder` too, also those that came before. */
  keepIn(folder: string): void;
  /** Writes what is not on disk yet; nothing goes to files any more. */
  close(): void;
}

export const logLimits = {
  /** Lines kept in memory for each unit. */
  lines: 2_000,
  /** The longest line, characters; longer ones are cut. */
  lineLength: 8_192,
  /** A file this large, bytes, becomes `.1`, `.1` becomes `.2`, and the oldest goes. */
  fileBytes: 4 * 1024 * 1024,
  files: 3,
  /** Lines waiting for a reader, beside those it began with, or characters for the disk. More are dropped. */
  followers: 1_000,
  unwrittenLength: 1024 * 1024,
} as const;

/** Lines reach the disk after this long at the latest. */
const flushAfterMs = 250;

/** The logs of all units: a bounded ring each in memory, and rotated files once there is a disk. */
export function openLogs(clock: Clock): Logs {
  const rings = new Map<string, LogLine[]>();
  const partial = new Map<string, string>();
  const notices = new Set<(line: LogLine) => void>();
  let files: LogFiles | undefined;

  const add = (unit: string, text: string) => {
    const line = { unit, timestamp: clock.now(), text: text.slice(0, logLimits.lineLength) };
    const ring = rings.get(unit) ?? [];
    rings.set(unit, ring);
    // Trimmed a quarter at a time: shift() moves the whole ring.
    if (ring.push(line) > logLimits.lines * 1.25) ring.splice(0, ring.length - logLimits.lines);
    files?.append(unit, `${line.text}\n`);
    for (const notice of notices) notice(line);
  };

  const tail = (unit: string, lines: number) => {
    const all = unit === "" ? [...rings.values()].flat() : (rings.get(unit) ?? []);
    return all.toSorted((a, b) => a.timestamp - b.timestamp).slice(-lines);
  };

  return {
    write(unit, chunk) {
      const lines = ((partial.get(unit) ?? "") + chunk.toString()).split("\n");
      const rest = lines.pop() ?? "";
      for (const line of lines) add(unit, line);
      if (rest.length <= logLimits.lineLength) partial.set(unit, rest);
      else {
        add(unit, rest);
        partial.delete(unit);
      }
    },
    tail,
    follow: (unit, lines, signal) => follow(unit, () => tail(unit, lines), signal, notices, clock),
    onLine: (notice) => notices.add(notice),
    keepIn(folder) {
      files = openLogFiles(folder);
      for (const [unit, ring] of rings) files.append(unit, ring.map(({ text }) => `${text}\n`).join(""));
    },
    close() {
      files?.close();
      files = undefined;
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

interface LogFiles {
  append(unit: string, text: string): void;
  close(): void;
}

/** One file for each unit. Writing is best effort: a full disk costs lines in files, never a unit its pipe. */
function openLogFiles(folder: string): LogFiles {
  const unwritten = new Map<string, string>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const flush = async () => {
    timer = undefined;
    for (const [unit, text] of [...unwritten]) {
      unwritten.delete(unit);
      const path = join(folder, `${unit}.log`);
      try {
        rotate(path);
        await appendFile(path, text, { mode: 0o640 });
      } catch {
        // The disk is full or gone: these lines are in the ring alone.
      }
    }
    if (unwritten.size > 0) schedule();
  };
  const schedule = () => {
    if (!closed) timer ??= setTimeout(flush, flushAfterMs);
  };

  return {
    append(unit, text) {
      const joined = (unwritten.get(unit) ?? "") + text;
      if (joined.length <= logLimits.unwrittenLength) unwritten.set(unit, joined);
      schedule();
    },
    close() {
      closed = true;
      clearTimeout(timer);
      for (const [unit, text] of unwritten) {
        try {
          appendFileSync(join(folder, `${unit}.log`), text, { mode: 0o640 });
        } catch {
          // As above.
        }
      }
      unwritten.clear();
    },
  };
}

function rotate(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < logLimits.fileBytes) return;
  const name = (index: number) => (index === 0 ? path : `${path}.${index}`);
  for (let index = logLimits.files - 1; index > 0; index -= 1) {
    try {
      renameSync(name(index - 1), name(index));
    } catch {
      // That one does not exist yet.
    }
  }
}
