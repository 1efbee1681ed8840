import { type Clock, callAfter, callEvery } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import type { Children, Faults, Syscalls } from "../base/index.ts";
import { checkSpace, checkWritable, lookEveryMs } from "../disks/index.ts";
import type { Screen } from "../early/index.ts";
import { markEveryMs, rememberTime } from "../time/index.ts";
import { reapOrphans } from "./orphans.ts";
import type { Power } from "./power.ts";
import { startWatchdog } from "./watchdog.ts";

/** Orphans are looked for this long after a child ended, and this often in any case. */
const reapAfterMs = 500;
const reapEveryMs = 30_000;

/** Reaps orphans from now on. SIGCHLD comes in swarms when a unit's group is killed: one look follows a swarm. */
export function keepReaping(children: Children, syscalls: Syscalls): void {
  const reap = () => reapOrphans("/proc", process.pid, children.has, syscalls.reap);
  let due = false;
  process.on("SIGCHLD", () => {
    if (due) return;
    due = true;
    callAfter(reapAfterMs, () => {
      due = false;
      reap();
    });
  });
  callEvery(reapEveryMs, reap);
}

/** Looks after the data volume's space and the time mark from now on. */
export function watchDataVolume(data: string, faults: Faults, clock: Clock): void {
  const look = () => {
    checkSpace(data, faults);
    checkWritable(data, faults);
  };
  look();
  callEvery(lookEveryMs, look);
  callEvery(markEveryMs, () => rememberTime(clock, faults));
}

/** Arms the machine's watchdog until its end. Best effort: a machine without one is said to have none. */
export function armWatchdog(syscalls: Syscalls, screen: Screen, power: Power): void {
  try {
    power.onEnd({ watchdog: startWatchdog("/dev/watchdog", syscalls) });
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    screen.say("aios-init: no watchdog device, continuing without one");
  }
}
