import { constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { callEvery } from "#lib/clock";
import { type KernelFiles, namesIn, readText } from "../base/index.ts";

/** Looked at this often: evdev has no event for libuv, and a blocking read would keep one of its four threads for ever. */
const lookEveryMs = 500;

/** struct input_event: 16 bytes of time, then type, code and value. */
const eventBytes = 24;
const typeKey = 1;
const keyPower = 116;
const eventsMax = 16;

/** Calls `press` when a power button of the machine is pressed. A machine without one has none to listen to. */
export function listenForPowerButton({ sys, dev }: Pick<KernelFiles, "sys" | "dev">, press: () => void): void {
  const buttons = namesIn(sys, "class/input")
    .filter((name) => /^event\d+$/.test(name))
    .filter((name) => /power button/i.test(readText(sys, "class/input", name, "device/name")))
    .map((name) => openSync(join(dev, "input", name), constants.O_RDONLY | constants.O_NONBLOCK));
  if (buttons.length === 0) return;
  callEvery(lookEveryMs, () => {
    if (buttons.some((file) => wasPressed(readEvents(file)))) press();
  });
}

/** Whether a power key went down among these events. */
export function wasPressed(events: Buffer): boolean {
  for (let at = 0; at + eventBytes <= events.length; at += eventBytes) {
    const [type, code] = [events.readUInt16LE(at + 16), events.readUInt16LE(at + 18)];
    if (type === typeKey && code === keyPower && events.readInt32LE(at + 20) === 1) return true;
  }
  return false;
}

function readEvents(file: number): Buffer {
  const events = Buffer.alloc(eventBytes * eventsMax);
  try {
    return events.subarray(0, readSync(file, events, 0, events.length, null));
  } catch {
    // EAGAIN: nothing was pressed.
    return events.subarray(0, 0);
  }
}
