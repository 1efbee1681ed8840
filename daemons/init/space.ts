import { statfsSync } from "node:fs";
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
