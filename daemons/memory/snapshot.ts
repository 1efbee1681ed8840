import { readdirSync, statfsSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { type Load, loadReader, textAt } from "#lib/linux/proc";

/** The machine's load. Sizes in MB (MiB, as the kernel counts) and GB (GiB). */
export interface Snapshot extends Load {
  readonly diskUsedGb: number;
  readonly diskTotalGb: number;
  /** Percent, of the busiest; 0 where no driver tells (AMD's and Intel's Xe do, in /sys). */
  readonly gpuUtilization: number;
}

/** Reads the machine's load, with that of the file system of `dataFolder`. */
export function snapshotReader(
  dataFolder: string,
  clock: Clock,
  procFolder = "/proc",
  sysFolder = "/sys",
): { read(): Snapshot; cpuPercent(): number } {
  const load = loadReader(procFolder, clock);
  return {
    cpuPercent: load.cpuPercent,
    read() {
      const disk = statfsSync(dataFolder);
      const gb = (blocks: number) => (blocks * disk.bsize) / 2 ** 30;
      return {
        ...load.read(),
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
    .map((card) => Number(textAt(`${sysFolder}/class/drm/${card}/device/gpu_busy_percent`)) || 0);
  return Math.max(0, ...busy);
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
