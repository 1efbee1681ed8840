import { closeSync, constants, openSync, writeSync } from "node:fs";
import { callEvery } from "#lib/clock";
import type { Syscalls } from "../base/index.ts";

/** The machine restarts when init's main loop has stood still this long. A full fsck runs beside the loop, not in it. */
const timeoutSeconds = 60;
const petEveryMs = 10_000;

export interface Watchdog {
  /** Disarms it, where the device allows. Without this it also covers a reboot that hangs. */
  disarm(): void;
}

/** Arms the watchdog at `path` and pets it from the event loop. Throws ENOENT when there is none. */
export function startWatchdog(path: string, syscalls: Syscalls): Watchdog {
  const file = openSync(path, constants.O_WRONLY);
  const pet = () => {
    writeSync(file, ".");
  };
  try {
    syscalls.setWatchdogTimeout(file, timeoutSeconds);
  } catch {
    // Some devices know one time-out only: petting every 10 s suits the common 30 s and 60 s.
  }
  pet();
  const stop = callEvery(petEveryMs, pet);
  return {
    disarm() {
      stop();
      // The magic character: closing without it leaves the watchdog armed.
      writeSync(file, "V");
      closeSync(file);
    },
  };
}
