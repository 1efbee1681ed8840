import { readFileSync, statfsSync } from "node:fs";
import type { Faults } from "../base/index.ts";

/** Below this much free space databases and logs begin to fail. */
export const spaceMinBytes = 32 * 1024 * 1024;
export const lookEveryMs = 5_000;
const fault = "space";

/** From here on the volume is said to fill up: the storage agent makes room then, as far as nobody misses what goes. */
const usedAlertPercent = 85;

/** Bytes of a volume. */
interface Space {
  readonly free: number;
  readonly total: number;
}

const next =
  'make room: "aiosctl tool call storage.clean", then delete for good what storage.usage and fs.disk_usage show, or give the ' +
  "machine a larger disk";

/** Raises a fault while the data volume at `folder` fills up, and while it is as good as full. Tests pass a twin of the volume. */
export function checkSpace(folder: string, faults: Faults, look: (folder: string) => Space = spaceOf): void {
  const { free, total } = look(folder);
  // In whole per cent, rounded down: a fault whose text changes is told again.
  const percent = Math.floor((100 * (total - free)) / Math.max(1, total));
  if (free < spaceMinBytes)
    faults.raise(fault, `data volume: full, ${Math.floor(free / 1024 / 1024)} MiB left; ${next}`);
  else if (percent >= usedAlertPercent) faults.raise(fault, `data volume: filling up, ${percent} % used; ${next}`);
  else faults.clear(fault);
}

/** The space that a daemon which is not root can still use. */
function spaceOf(folder: string): Space {
  const { bavail, blocks, bsize } = statfsSync(folder);
  return { free: bavail * bsize, total: blocks * bsize };
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
