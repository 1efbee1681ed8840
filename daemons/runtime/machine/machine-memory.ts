import { groupOf, memoryInfo, textAt } from "#lib/linux/proc";

/** Memory of the machine, or of the part of it that this daemon may use. */
export interface MachineMemory {
  readonly totalBytes: number;
  /** The memory that can be had without swapping; pages of files count as available. */
  readonly availableBytes: number;
}

/** Files to read it from; the machine's own unless a test says otherwise. */
interface MemoryFiles {
  readonly proc: string;
  readonly cgroups: string;
}

/** The part left for the rest of the machine: a twentieth, within these. */
const reserveShare = 0.05;
const reserveMinBytes = 64_000_000;
const reserveMaxBytes = 1_000_000_000;

/** Bytes that models must leave. */
export function reserveBytes({ totalBytes }: MachineMemory): number {
  return Math.round(Math.min(Math.max(totalBytes * reserveShare, reserveMinBytes), reserveMaxBytes));
}

/** The machine's memory, or that of the control group that this process is in when that is less. */
export function machineMemory(
  { proc, cgroups }: MemoryFiles = { proc: "/proc", cgroups: "/sys/fs/cgroup" },
): MachineMemory {
  const kib = memoryInfo(proc);
  const machine = { totalBytes: kib("MemTotal") * 1024, availableBytes: kib("MemAvailable") * 1024 };
  return ancestors(groupOf(proc, "self")).reduce((least, group) => within(least, `${cgroups}${group}`), machine);
}

function within(memory: MachineMemory, folder: string): MachineMemory {
  const limit = Number(textAt(`${folder}/memory.max`).trim() || Number.NaN);
  if (!Number.isFinite(limit)) return memory;
  const used = Number(textAt(`${folder}/memory.current`).trim());
  const reclaimable = Number(/^inactive_file (\d+)$/m.exec(textAt(`${folder}/memory.stat`))?.[1] ?? 0);
  const active = Number(/^active_file (\d+)$/m.exec(textAt(`${folder}/memory.stat`))?.[1] ?? 0);
  return {
    totalBytes: Math.min(memory.totalBytes, limit),
    availableBytes: Math.min(memory.availableBytes, Math.max(0, limit - used + reclaimable + active)),
  };
}

/** "/a/b" → "/a/b", "/a", "". */
function ancestors(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "");
  return Array.from({ length: parts.length + 1 }, (_, at) =>
    parts
      .slice(0, parts.length - at)
      .map((part) => `/${part}`)
      .join(""),
  );
}
