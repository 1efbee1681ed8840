import { type ChildProcess, spawn } from "node:child_process";
import { setPriority } from "node:os";
import type { Clock } from "#lib/clock";

/**
 * Runs in front of Chroma's program, in the same process. Chroma's call blocks the main thread for good, so a second thread
 * waits for the standard input to close, which it does when the daemon is gone, however that came about: an orphan would
 * keep the data folder. SIGINT ends Chroma in order (SIGTERM hangs it); SIGKILL is for when it does not.
 */
const guard = `
const { Worker } = require("node:worker_threads");
new Worker(\`
  const { Socket } = require("node:net");
  const end = () => {
    process.kill(process.pid, "SIGINT");
    setTimeout(() => process.kill(process.pid, "SIGKILL"), 2000);
  };
  new Socket({ fd: 0, readable: true, writable: false }).on("error", () => {}).on("close", end).resume();
\`, { eval: true });
require(process.argv[1]);
`;

/** Chroma yields the processor to everything else: answers can wait, a boot cannot. */
const niceness = 15;

/** The command line that runs these words held. */
export type Hold = (words: readonly [string, ...string[]]) => readonly string[];

/** Starts the Chroma server whose program is `program` (chromadb's cli.mjs), with `home` as its home folder. */
export function spawnChroma(
  program: string,
  home: string,
  configFile: string,
  hold: Hold = (words) => words,
): ChildProcess {
  const [command = "", ...words] = hold([process.execPath, "-e", guard, program, "run", configFile]);
  const child = spawn(command, words, {
    stdio: ["pipe", "ignore", "pipe"],
    env: { HOME: home, TMPDIR: home },
  });
  child.stdin?.on("error", () => {});
  if (child.pid !== undefined) setPriority(child.pid, niceness);
  return child;
}

const lookMs = 500;
const quietPercent = 50;
const patienceMs = 8_000;

/**
 * Resolves once the machine is less than half busy, or after 8 s. Control groups share the processors equally between
 * daemons, which makes niceness count only within one: so the vector server does not start in the middle of a boot.
 */
export async function untilQuiet(cpuPercent: () => number, clock: Clock, signal: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + patienceMs;
  do {
    await clock.sleep(lookMs, signal);
  } while (cpuPercent() > quietPercent && clock.monotonic() < deadline);
}
