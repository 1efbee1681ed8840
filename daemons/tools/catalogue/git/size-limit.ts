import { statfsSync } from "node:fs";
import { callEvery } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { runProgram } from "../shared/index.ts";

/** How often it is looked how large a folder has grown. */
const lookEveryMs = 500;

/** Of the room on a volume, what one clone may take. */
const shareMost = 0.9;

/** The most bytes that may come into `folder`: what was asked for, and what its volume has room for. */
export function roomIn(folder: string, wantedMaxBytes: number): number {
  const { bavail, bsize } = statfsSync(folder);
  return Math.min(wantedMaxBytes, Math.floor(bavail * bsize * shareMost));
}

/** The bytes that a folder takes on the disk. */
async function sizeOnDisk(path: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await runProgram(["du", "-sk", "--", path], { signal });
  return Number(/^\d+/.exec(stdout)?.[0] ?? 0) * 1024;
}

/** Runs `act`, and aborts its signal when `path` grows beyond `maxBytes` on the disk. Throws RESOURCE_EXHAUSTED then. */
export async function withinSize<T>(
  path: string,
  maxBytes: number,
  signal: AbortSignal,
  act: (signal: AbortSignal) => Promise<T>,
  sizeOf = sizeOnDisk,
): Promise<T> {
  const stop = new AbortController();
  const tooLarge = new AiosError("RESOURCE_EXHAUSTED", {
    act: "clone into",
    object: path,
    reason: `it is larger than ${Math.floor(maxBytes / 2 ** 20)} MiB`,
    next: "give a depth, a larger max_mb, or a place on a larger disk",
  });
  const look = async () => {
    if ((await sizeOf(path, signal)) > maxBytes) stop.abort(tooLarge);
  };
  // One at a time: on a slow disk, or at many files, a look takes longer than the pause.
  let looking: Promise<void> | undefined;
  const lookOnce = () => {
    looking ??= look()
      .catch(() => {})
      .finally(() => {
        looking = undefined;
      });
  };
  const watched = callEvery(lookEveryMs, lookOnce);
  try {
    const done = await act(AbortSignal.any([signal, stop.signal]));
    watched();
    await looking;
    await look();
    stop.signal.throwIfAborted();
    return done;
  } catch (error) {
    // A single file that grew too large is cut off by the kernel, before it is looked at.
    if (stop.signal.aborted || /file size limit|File too large|SIGXFSZ|invalid index-pack output/i.test(String(error)))
      throw tooLarge;
    throw error;
  } finally {
    watched();
  }
}
