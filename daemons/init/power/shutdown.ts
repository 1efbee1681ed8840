import type { Clock } from "#lib/clock";
import { consoleLines } from "#manifest";
import type { Screen } from "../early/index.ts";

export type EndAct = "power-off" | "restart" | "halt";

/** The parts that end with the machine, in the order of {@link endMachine}. */
interface Ending {
  stopUnits(): Promise<void>;
  /** Sends a signal to every process there is beside init. */
  signalAll(signal: "SIGTERM" | "SIGKILL"): void;
  closeServices(): void;
  markTime(): void;
  closeLogs(): Promise<void> | void;
  /** Gives back the mount points that could not be let go. */
  unmount(): string[];
  sync(): void;
  disarmWatchdog(): void;
  reboot(act: EndAct): void;
  readonly screen: Screen;
  readonly clock: Clock;
}

/** Units have 10 s to end and are killed then; what does not die of that (stuck in the kernel) is not waited for. */
const unitsWithinMs = 20_000;
const othersWithinMs = 300;
/** A disk that hangs is not waited for. */
const logsWithinMs = 2_000;

/** Ends the machine in order. A step that fails is said, and the next one follows: a machine told to end ends. */
export async function endMachine(act: EndAct, reason: string, ending: Ending): Promise<void> {
  const { screen, clock } = ending;
  screen.say(`aios-init: ${act}, ${reason}`);
  const step = async (what: string, run: () => Promise<unknown> | unknown) => {
    try {
      await run();
    } catch (error) {
      screen.fault(what, error);
    }
  };
  await step("stop units", () => Promise.race([ending.stopUnits(), clock.sleep(unitsWithinMs)]));
  await step("end other processes", async () => {
    ending.signalAll("SIGTERM");
    await clock.sleep(othersWithinMs);
    ending.signalAll("SIGKILL");
  });
  await step("mark the time", ending.markTime);
  await step("close services", ending.closeServices);
  await step("close logs", () => Promise.race([ending.closeLogs(), clock.sleep(logsWithinMs)]));
  await step("write data", ending.sync);
  await step("unmount", () => {
    const left = ending.unmount();
    if (left.length > 0)
      screen.say(`aios-init: still in use: ${left.join(", ")}; the next boot checks the data volume`);
    else screen.say(act === "restart" ? "aios-init: file systems unmounted, restart" : consoleLines.powerOff);
  });
  if (act !== "restart") await step("disarm the watchdog", ending.disarmWatchdog);
  await step(act, () => ending.reboot(act));
}
