import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { AiosError } from "#lib/errors";

/** A cold build takes 15 minutes on two cores; whoever waits longer than this waits for something that hangs. */
const waitSecondsMax = 45 * 60;

/**
 * Holds the lock file `path`, so that two builds do not write into one cache. `onWait` is called when another build holds
 * it. The lock belongs to a child that ends with this process, however this process ends. What is returned lets go of it, and
 * resolves once another may have it. Waiting ends with the reason of `stop` when that is aborted.
 */
export async function holdLock(path: string, onWait: () => void, stop?: AbortSignal): Promise<() => Promise<void>> {
  stop?.throwIfAborted();
  mkdirSync(dirname(path), { recursive: true });
  const argv = ["--wait", String(waitSecondsMax), path, "sh", "-c", "echo held; exec cat"];
  // In a session of its own: a Ctrl-C at the terminal is for us, who let go once the steps have ended.
  const child = spawn("flock", argv, { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const giveUp = () => void child.kill();
  stop?.addEventListener("abort", giveUp);
  const waiting = setTimeout(onWait, 500);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(stop?.aborted ? stop.reason : busy(path)));
      child.stdout.once("data", () => resolve());
    });
  } finally {
    clearTimeout(waiting);
    stop?.removeEventListener("abort", giveUp);
  }
  child.unref();
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    // A program that is run next, and waited for without a turn of the event loop, would wait for it for ever.
    const gone = once(child, "exit");
    child.ref();
    child.stdin.end();
    await gone;
  };
}

function busy(path: string): AiosError {
  return new AiosError("ABORTED", {
    act: "lock",
    object: path,
    reason: `another build held it for ${waitSecondsMax / 60} minutes`,
    next: "end that build (its process is named in: fuser -v on the file), then run this one again",
  });
}
