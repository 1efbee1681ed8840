import { readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { uptimeSeconds } from "#lib/linux/uptime";

/** How the machine is. */
export interface Load {
  /** Load of all processors, since the reading before (at least 200 ms ago). */
  readonly cpuPercent: number;
  readonly memoryUsedMb: number;
  readonly memoryTotalMb: number;
  readonly uptimeSeconds: number;
}

/** Readings closer together than this say nothing: the earlier one is told again. */
const readingIntervalMs = 200;

interface Times {
  readonly busy: number;
  readonly total: number;
}

/** Reads the machine's load from `procFolder` (/proc). */
export function loadReader(procFolder: string, clock: Clock): () => Load {
  let last = { at: clock.monotonic(), times: cpuTimes(`${procFolder}/stat`) };
  let cpuPercent = 0;
  return () => {
    if (clock.monotonic() - last.at >= readingIntervalMs) {
      const times = cpuTimes(`${procFolder}/stat`);
      const total = times.total - last.times.total;
      cpuPercent = total > 0 ? (100 * (times.busy - last.times.busy)) / total : 0;
      last = { at: clock.monotonic(), times };
    }
    const memory = readFileSync(`${procFolder}/meminfo`, "utf8");
    const totalMb = megabytes(memory, "MemTotal");
    return {
      cpuPercent,
      memoryUsedMb: totalMb - megabytes(memory, "MemAvailable"),
      memoryTotalMb: totalMb,
      uptimeSeconds: uptimeSeconds(procFolder),
    };
  };
}

/** Clock ticks since boot, of all processors; idle and waiting for disks is not busy. */
function cpuTimes(file: string): Times {
  const [first = ""] = readFileSync(file, "utf8").split("\n");
  const ticks = first.split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, count) => sum + count, 0);
  return { busy: total - (ticks[3] ?? 0) - (ticks[4] ?? 0), total };
}

function megabytes(memory: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(memory)?.[1] ?? 0) / 1_024;
}
