/** What the kernel tells of the machine and its processes. `proc` is the folder /proc. */

import { readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";

/** USER_HZ: the same on every Linux that this runs on. */
export const ticksPerSecond = 100;

/** The text of one of the kernel's files; "" when it is not there. */
export function textAt(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Values of /proc/meminfo by name: KiB, or a count; 0 for what the kernel does not tell. */
export function memoryInfo(proc: string): (name: string) => number {
  const text = textAt(`${proc}/meminfo`);
  return (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

/** Time of all processors since the start, in ticks. */
export interface CpuTicks {
  /** Neither idle nor waiting for a disk. */
  readonly busy: number;
  /** Of the busy: what a host took for others. */
  readonly stolen: number;
  readonly total: number;
  readonly cores: number;
}

export function cpuTicks(proc: string): CpuTicks {
  const text = textAt(`${proc}/stat`);
  const ticks = (/^cpu +(.*)$/m.exec(text)?.[1] ?? "").split(" ").map(Number);
  // user nice system idle iowait irq softirq steal; guest time is counted in user already.
  const [, , , idle = 0, waiting = 0, , , stolen = 0] = ticks;
  const total = ticks.slice(0, 8).reduce((sum, count) => sum + count, 0);
  return { busy: total - idle - waiting, stolen, total, cores: text.match(/^cpu\d/gm)?.length ?? 1 };
}

/** How busy the machine is. */
export interface Load {
  /** Load of all processors, since the reading before (at least 200 ms ago). */
  readonly cpuPercent: number;
  /** MiB. */
  readonly memoryUsedMb: number;
  readonly memoryTotalMb: number;
}

/** Readings closer together than this say nothing: the earlier one is told again. */
const readingIntervalMs = 200;

/** Reads the machine's load, again and again. */
export function loadReader(proc: string, clock: Clock): { read(): Load; cpuPercent(): number } {
  let last = { at: clock.monotonic(), ticks: cpuTicks(proc) };
  let percent = 0;
  const cpuPercent = () => {
    if (clock.monotonic() - last.at < readingIntervalMs) return percent;
    const ticks = cpuTicks(proc);
    const total = ticks.total - last.ticks.total;
    percent = total > 0 ? (100 * (ticks.busy - last.ticks.busy)) / total : 0;
    last = { at: clock.monotonic(), ticks };
    return percent;
  };
  const read = () => {
    const kib = memoryInfo(proc);
    const memoryTotalMb = kib("MemTotal") / 1024;
    return { cpuPercent: cpuPercent(), memoryUsedMb: memoryTotalMb - kib("MemAvailable") / 1024, memoryTotalMb };
  };
  return { read, cpuPercent };
}

/** A process as /proc/PID/stat has it. */
export interface ProcessStat {
  readonly name: string;
  /** One letter: "Z" has ended and waits to be reaped. */
  readonly state: string;
  readonly parent: number;
  readonly threads: number;
  readonly residentPages: number;
  /** Of the processors, its ended children left out. */
  readonly cpuMs: number;
  /** When it began, ticks since the kernel's start. */
  readonly startTicks: number;
}

/** Undefined when there is no such process. */
export function statOf(proc: string, pid: number | string): ProcessStat | undefined {
  const text = textAt(`${proc}/${pid}/stat`);
  return text === "" ? undefined : parseStat(text);
}

export function parseStat(text: string): ProcessStat {
  // The name, in parentheses, may hold anything; what follows begins with the third field.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const number = (field: number) => Number(fields[field - 3]) || 0;
  return {
    ...{ name: text.slice(text.indexOf("(") + 1, end), state: fields[0] ?? "", parent: number(4) },
    ...{ threads: number(20), residentPages: number(24), startTicks: number(22) },
    cpuMs: ((number(14) + number(15)) * 1000) / ticksPerSecond,
  };
}

/** The control group of a process in the one hierarchy of version 2; "" where there is none. */
export function groupOf(proc: string, pid: number | "self"): string {
  return /^0::(.*)$/m.exec(textAt(`${proc}/${pid}/cgroup`))?.[1] ?? "";
}

/**
 * For how long the machine has run, seconds: since its first process began. The kernel may have run for longer: in the
 * native lane it is a host's.
 */
export function uptimeSeconds(proc: string): number {
  const [kernel = "0"] = readFileSync(`${proc}/uptime`, "utf8").split(" ");
  return Math.max(0, Math.floor(Number(kernel) - (statOf(proc, 1)?.startTicks ?? 0) / ticksPerSecond));
}
