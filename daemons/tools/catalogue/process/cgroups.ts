import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { type GroupFolder, groupFolder } from "#lib/linux/cgroups";
import { textAt } from "#lib/linux/proc";

/** What a group of processes may use. */
export interface Limits {
  readonly memory_max_mb?: number;
  /** Of one core; 200 is two cores. */
  readonly cpu_max_percent?: number;
  readonly cpu_weight?: number;
  readonly io_weight?: number;
  readonly pids_max?: number;
}

/** The file of each limit, what is written there, and what stands for no limit. */
const files = {
  memory_max_mb: { file: "memory.max", text: (value: number) => `${value * 1024 * 1024}` },
  cpu_max_percent: { file: "cpu.max", text: (value: number) => `${value * 1000} 100000` },
  cpu_weight: { file: "cpu.weight", text: (value: number) => `${value}` },
  io_weight: { file: "io.weight", text: (value: number) => `default ${value}` },
  pids_max: { file: "pids.max", text: (value: number) => `${value}` },
} as const satisfies Record<keyof Limits, { file: string; text(value: number): string }>;

export type LimitName = keyof typeof files;
const limitNames = Object.keys(files) as LimitName[];

/** The group under which the tools make theirs, beside those of the daemons. */
const topName = "aios-tools";

interface Cgroup extends Pick<GroupFolder, "pids" | "kill" | "freeze"> {
  readonly name: string;
  /** Whether it stood before. */
  exists(): boolean;
  make(): void;
  /** Sets limits; gives back the names of those that the kernel took: on a kernel that gave a controller away it takes none. */
  limit(limits: Limits): LimitName[];
  /** The text of each limit as it is now. */
  limits(): Partial<Record<LimitName, string>>;
  /** Writes limits back as `limits` gave them. */
  write(limits: Partial<Record<LimitName, string>>): void;
  add(pid: number): void;
  /** Removes it; it stays while processes live in it. */
  remove(): void;
}

/** Control groups of version 2, where the kernel has them mounted. */
export interface Cgroups {
  /** Throws FAILED_PRECONDITION where there are none. */
  open(name: string): Cgroup;
  readonly available: boolean;
  /** Puts a process back into the group that /proc named for it. */
  moveTo(pid: number, path: string): void;
}

export function openCgroups(): Cgroups {
  const mount = mountPoint();
  const top = join(mount ?? "/", topName);
  return {
    available: mount !== undefined,
    open: (name) => {
      if (mount === undefined) throw none(name);
      return cgroup(mount, top, name);
    },
    moveTo: (pid, path) => {
      if (mount !== undefined) writeFileSync(join(mount, path, "cgroup.procs"), `${pid}`);
    },
  };
}

/** Where cgroup2 is mounted: alone, or beside version 1. */
function mountPoint(): string | undefined {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const found = mounts.find((line) => / - cgroup2 /.test(line))?.split(" ")[4];
  return found !== undefined && existsSync(join(found, "cgroup.procs")) ? found : undefined;
}

function cgroup(mount: string, top: string, name: string): Cgroup {
  const folder = join(top, name);
  const { set, text, pids, kill, freeze } = groupFolder(folder);
  return {
    name,
    exists: () => existsSync(folder),
    make: () => {
      mkdirSync(top, { recursive: true });
      for (const above of [mount, top]) groupFolder(above).giveDown();
      mkdirSync(folder, { recursive: true });
    },
    limit: (limits) =>
      limitNames.filter((limit) => {
        const value = limits[limit];
        return value !== undefined && set(files[limit].file, files[limit].text(value));
      }),
    limits: () =>
      Object.fromEntries(
        limitNames.map((limit) => [limit, text(files[limit].file).trim()]).filter(([, value]) => value !== ""),
      ),
    write: (limits) => {
      for (const [limit, value] of Object.entries(limits)) set(files[limit as LimitName].file, value);
    },
    add: (pid) => {
      writeFileSync(join(folder, "cgroup.procs"), `${pid}`);
      // What it started before it was in the group.
      for (const child of textAt(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean)) {
        set("cgroup.procs", child);
      }
    },
    pids,
    kill,
    freeze,
    remove: () => {
      for (const one of [folder, top]) tryRemove(one);
    },
  };
}

function tryRemove(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Something lives in it still, or it is not there.
  }
}

function none(name: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "open control group",
    object: name,
    reason: "this kernel has no control groups of version 2 mounted",
  });
}
