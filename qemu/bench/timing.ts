import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What making calls took. */
export interface Timing {
  /** Milliseconds of each call, sorted. */
  readonly times: readonly number[];
  readonly perSecond: number;
}

/** Makes `count` calls, so many at a time. */
export async function repeat(count: number, together: number, call: (at: number) => unknown): Promise<Timing> {
  const times: number[] = [];
  let next = 0;
  const started = performance.now();
  const work = async () => {
    while (next < count) {
      const at = next++;
      const from = performance.now();
      await call(at);
      times.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  const perSecond = (count / (performance.now() - started)) * 1_000;
  return { times: times.sort((a, b) => a - b), perSecond };
}

export const quantile = (sorted: readonly number[], at: number): number => sorted[Math.floor(sorted.length * at)] ?? 0;

export const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

/** The median time of an fdatasync after a write of 4 KiB, milliseconds. */
export function fsyncTime(folder: string): number {
  const path = join(folder, "fsync");
  const file = openSync(path, "w");
  const page = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 100 }, () => {
    const from = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - from;
  });
  closeSync(file);
  rmSync(path);
  return median(times);
}

/** Memory that a process takes, MB. */
export function residentMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kib) * 1024) / 1_000_000;
}

/** Processor time that a process and its threads have used, milliseconds. */
export function processorMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the program's name in brackets and may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * (1_000 / ticksPerSecond);
}

/** USER_HZ: 100 on every architecture that we build for. */
const ticksPerSecond = 100;
