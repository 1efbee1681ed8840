import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { statOf } from "#lib/linux/proc";
import { quantile } from "./repeat.ts";

export { quantile, repeat } from "./repeat.ts";

/** The value in the middle. */
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
  const stat = statOf("/proc", pid);
  if (stat === undefined) throw new Error(`measure process ${pid}: it has ended`);
  return stat.cpuMs;
}
