import { readdirSync, readFileSync, statfsSync } from "node:fs";

/** The machine's load. Sizes in MB (10⁶ … 2²⁰ as the kernel counts: MiB) and GB (2³⁰). */
export interface Load {
  /** Of all processors together, since the reading before. */
  readonly cpuPercent: number;
  readonly memoryUsedMb: number;
  readonly memoryTotalMb: number;
  readonly diskUsedGb: number;
  readonly diskTotalGb: number;
  /** Percent, of the busiest; 0 where no driver tells (AMD's and Intel's Xe do, in /sys). */
  readonly gpuUtilization: number;
}

/** Reads the load from /proc and the file system of `dataFolder`. */
export function loadReader(
  dataFolder: string,
  procFolder = "/proc",
  sysFolder = "/sys",
): { read(): Load; cpuPercent(): number } {
  const cpu = cpuReader(procFolder);
  return {
    cpuPercent: cpu,
    read() {
      const memory = readFileSync(`${procFolder}/meminfo`, "utf8");
      const totalMb = megabytes(memory, "MemTotal");
      const disk = statfsSync(dataFolder);
      const gb = (blocks: number) => (blocks * disk.bsize) / 2 ** 30;
      return {
        cpuPercent: cpu(),
        memoryUsedMb: totalMb - megabytes(memory, "MemAvailable"),
        memoryTotalMb: totalMb,
        diskUsedGb: gb(disk.blocks - disk.bfree),
        diskTotalGb: gb(disk.blocks),
        gpuUtilization: gpuBusyPercent(sysFolder),
      };
    },
  };
}

function gpuBusyPercent(sysFolder: string): number {
  const busy = names(`${sysFolder}/class/drm`)
    .filter((name) => /^card\d+$/.test(name))
    .map((card) => numberIn(`${sysFolder}/class/drm/${card}/device/gpu_busy_percent`));
  return Math.max(0, ...busy);
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function numberIn(file: string): number {
  try {
    return Number(readFileSync(file, "utf8")) || 0;
  } catch {
    return 0;
  }
}

function megabytes(meminfo: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(meminfo)?.[1] ?? 0) / 1024;
}

/** The share of processor time used between one call and the next. */
function cpuReader(procFolder: string): () => number {
  let before = ticks(procFolder);
  let last = 0;
  return () => {
    const now = ticks(procFolder);
    const all = now.all - before.all;
    if (all > 0) last = (100 * (all - (now.idle - before.idle))) / all;
    if (all > 0) before = now;
    return last;
  };
}

function ticks(procFolder: string): { all: number; idle: number } {
  const [, line = ""] = /^cpu +(.*)$/m.exec(readFileSync(`${procFolder}/stat`, "utf8")) ?? [];
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0] = line
    .split(" ")
    .map(Number);
  return { all: user + nice + system + idle + wait + irq + softirq + steal, idle: idle + wait };
}
