import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A control group (v2) of this host that holds one machine of the native lane. */
export interface Cgroup {
  readonly path: string;
  /** Removes it with all the machine made below it. Best effort: an empty group costs nothing. */
  remove(): Promise<void>;
}

/** Followed by the pid of the process that made it. */
const prefix = "aios-native-";

/** The kernel lets go of a dead process's group a moment after it is reaped. */
const removeTries = 40;
const removePauseMs = 25;

/** A new group, or undefined on a host without a writable cgroup2 hierarchy: the machine then runs in ours. */
export function makeCgroup(): Cgroup | undefined {
  const mount = cgroupMount(readFileSync("/proc/self/mountinfo", "utf8"));
  if (mount === undefined) return undefined;
  removeAbandoned(mount);
  const path = join(mount, `${prefix}${process.pid}-${process.hrtime.bigint()}`);
  try {
    mkdirSync(path);
  } catch {
    return undefined;
  }
  return { path, remove: () => remove(path) };
}

/** Groups of processes that were killed before they could remove them. */
function removeAbandoned(mount: string): void {
  for (const name of readdirSync(mount)) {
    const owner = new RegExp(`^${prefix}([0-9]+)-`).exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) removeTree(join(mount, name));
  }
}

/** Where cgroup2 is mounted: alone, or beside v1 as "unified". */
export function cgroupMount(mountinfo: string): string | undefined {
  return mountinfo
    .split("\n")
    .find((line) => line.includes(" - cgroup2 "))
    ?.split(" ")[4];
}

async function remove(path: string): Promise<void> {
  for (let tries = 0; tries < removeTries; tries++) {
    if (removeTree(path)) return;
    await delay(removePauseMs);
  }
}

function removeTree(path: string): boolean {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(join(path, entry.name));
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}
