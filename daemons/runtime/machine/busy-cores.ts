import type { Clock } from "#lib/clock";
import { cpuTicks, statOf, ticksPerSecond } from "#lib/linux/proc";

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

/** Seconds of processor that everything on this machine has used since the start. */
function busySeconds(proc: string): number {
  const { busy, stolen } = cpuTicks(proc);
  return (busy - stolen) / ticksPerSecond;
}

/** Seconds of processor that a process has used; 0 when it has ended. */
const processSeconds = (proc: string, pid: number) => (statOf(proc, pid)?.cpuMs ?? 0) / 1000;

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
