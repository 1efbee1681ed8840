import { readFileSync, statfsSync } from "node:fs";
import type { Faults } from "./faults.ts";

/** Below this much free space databases and logs begin to fail. */
export const spaceMinBytes = 32 * 1024 * 1024;
export const lookEveryMs = 5_000;
const fault = "space";

/** Raises a fault while the data volume at `folder` is as good as full. `free` gives its free bytes; tests pass a twin. */
export function checkSpace(folder: string, faults: Faults, free: (folder: string) => number = freeBytes): void {
  const bytes = free(folder);
  if (bytes >= spaceMinBytes) {
    faults.clear(fault);
    return;
  }
  faults.raise(
    fault,
    `data volume: full, ${Math.floor(bytes / 1024 / 1024)} MiB left; remove what is not needed under ` +
      "/var/lib/aios/models, /home and /var/log, or give the machine a larger disk",
  );
}

/** What a daemon that is not root can still use. */
function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

const readOnlyFault = "read-only";

/** Raises a fault while the file system that is mounted at `folder` takes no writes: ext4 turns so at an error of its own or of its disk. */
export function checkWritable(folder: string, faults: Faults, mountinfo = readMountinfo()): void {
  const line = mountinfo.split("\n").findLast((mount) => mount.split(" ")[4] === folder);
  const options = line?.split(" - ")[1]?.split(" ")[2]?.split(",") ?? [];
  if (!options.includes("ro")) {
    faults.clear(readOnlyFault);
    return;
  }
  faults.raise(
    readOnlyFault,
    "data volume: the kernel made it read-only, since its file system or its disk failed; nothing is kept from now on; save " +
      'what is on it, then restart: the boot checks it, and "repair the data volume" in the boot menu mends what the check leaves',
  );
}

function readMountinfo(): string {
  return readFileSync("/proc/self/mountinfo", "utf8");
}
