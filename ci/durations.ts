/** How long test files took here when they last ran, and how many run at once: what a run of some will take. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";

/** Most of a test file's time is waiting: for programs that start, for answers, for a time-out to be over. */
export const filesAtOnce = Math.min(3 * availableParallelism(), availableParallelism() + 8);

const keptIn = resolve(import.meta.dirname, "../node_modules/.cache/aios-test-durations.json");

/** What a file takes that never ran here. */
const usualMs = 3_000;

/** Keeps the time of these files, by their path from the repository's root, in milliseconds. */
export function keepDurations(durations: readonly (readonly [string, number])[]): void {
  mkdirSync(dirname(keptIn), { recursive: true });
  writeFileSync(keptIn, JSON.stringify({ ...keptDurations(), ...Object.fromEntries(durations) }));
}

/** The milliseconds that these files will take together. */
export function expectedMs(files: readonly string[]): number {
  const kept = keptDurations();
  const durations = files.map((file) => kept[file] ?? usualMs);
  return Math.max(0, ...durations, durations.reduce((sum, ms) => sum + ms, 0) / filesAtOnce);
}

function keptDurations(): Record<string, number> {
  try {
    return JSON.parse(readFileSync(keptIn, "utf8"));
  } catch {
    return {};
  }
}
