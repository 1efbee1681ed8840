import { readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";

interface BusyOptions {
  /** Processes whose work is the models' own: the workers'. */
  readonly own: () => readonly number[];
  /** Whether any of them has something to do: nothing is looked at while not. */
  readonly active: () => boolean;
  /** Told how many cores others on the machine keep busy, when that has changed. */
  readonly told: (cores: number) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly proc?: string;
}

/** Often enough to make way within seconds, and seldom enough to cost nothing. */
const lookMs = 1_000;

/** Of a core: less than this of others' work is not worth a thread. */
const threshold = 0.6;

/**
 * Watches how many cores other work on the machine needs. A model whose threads wait for each other at every token is many
 * times slower when one of them has no core: with fewer threads it loses a share instead.
 */
export async function watchBusyCores({ own, active, told, clock, signal, proc = "/proc" }: BusyOptions): Promise<void> {
  let before: { busy: number; own: number } | undefined;
  let last = 0;
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {});
    if (!active()) {
      before = undefined;
      continue;
    }
    const now = { busy: busySeconds(proc), own: sum(own().map((pid) => processSeconds(proc, pid))) };
    if (before !== undefined) {
      const others = Math.max(0, now.busy - before.busy - Math.max(0, now.own - before.own)) / (lookMs / 1000);
      const cores = Math.floor(others + 1 - threshold);
      if (cores !== last) told(cores);
      last = cores;
    }
    before = now;
  }
}

/** Seconds of processor that everything has used since the start. */
function busySeconds(proc: string): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (read(`${proc}/stat`).split("\n")[0] ?? "")
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softirq) / ticksPerSecond;
}

/** Seconds of processor that a process has used; 0 when it has ended. */
function processSeconds(proc: string, pid: number): number {
  const stat = read(`${proc}/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond;
}

/** USER_HZ: the same on every Linux that this runs on. */
const ticksPerSecond = 100;

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
