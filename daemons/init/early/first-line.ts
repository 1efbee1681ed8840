import { writeSync } from "node:fs";
import { consoleLines } from "#manifest";

/**
 * Says that JavaScript runs, before anything else is loaded. Gives back when: CLOCK_MONOTONIC, milliseconds, which begins
 * with the kernel. `kernelStartMs` is that clock's time at kernel start where the kernel is another's.
 */
export function sayFirstLine(kernelStartMs: number): number {
  const nowMs = Number(process.hrtime.bigint() / 1_000_000n) - kernelStartMs;
  try {
    writeSync(1, `${consoleLines.firstJavascript}, ${nowMs} ms after kernel start\n`);
  } catch {
    // No console: the machine boots all the same.
  }
  return nowMs;
}
