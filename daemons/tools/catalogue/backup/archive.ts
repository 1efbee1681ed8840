import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, mkdir, open, readdir, rename, rm, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { mountAt } from "../../files/index.ts";
import {
  type Entry,
  exchange,
  type Measure,
  measure,
  mountedThere,
  placeFor,
  refused,
  removeEntry,
  succeed,
  tarKeeps,
  temporaryOf,
  withEntry,
} from "../shared/index.ts";

/** Archives are tar files packed with gzip: what every Debian has can read them. */

/** How long packing or unpacking may take. */
export const archiveTimeoutMs = 1_800_000;

/** Of the disk that an archive is written to this share stays free. */
const freeShare = 0.05;

interface Archive extends Measure {
  readonly sha256: string;
  /** Of the archive itself. */
  readonly archiveBytes: number;
}

/**
 * Packs what stands at `source` into `file`, whole or not at all. Throws FAILED_PRECONDITION when there is nothing, when a
 * file system is mounted in it, and when the disk has too little room.
 */
export async function pack(source: string, file: string, signal: AbortSignal): Promise<Archive> {
  return withEntry(source, async (entry) => {
    if (entry.found === undefined) throw refused("back up", source, "it does not exist");
    const measured = await measure(entry, signal);
    await checkRoom(file, measured.bytes);
    const partial = `${file}.partial`;
    try {
      const argv = ["tar", "--create", "--gzip", `--file=${partial}`, "--force-local", "--format=posix"] as const;
      const what = ["--one-file-system", ...tarKeeps, "--", `./${entry.name}`];
      await succeed([...argv, ...what], {
        signal,
        cwd: placeFor(entry.folder),
        timeoutMs: archiveTimeoutMs,
        act: "pack",
      });
      await chmod(partial, 0o600);
      await sync(partial);
      const { sha256, bytes } = await sumOf(partial, signal);
      await rename(partial, file);
      await sync(dirname(file));
      return { ...measured, sha256, archiveBytes: bytes };
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  });
}

/**
 * Puts what an archive holds at `destination`, in place of what stands there, whose fingerprint is `stood`: unpacked beside it
 * first, so that a broken archive changes nothing. Throws FAILED_PRECONDITION when the destination is a mount point, and when
 * something else stands there by then.
 */
export async function unpack(
  file: string,
  destination: string,
  stood: string | undefined,
  executionId: string,
  signal: AbortSignal,
): Promise<void> {
  await withEntry(destination, async (entry) => {
    checkNoMountPoint(entry);
    const temporary = temporaryOf(entry, executionId);
    await removeEntry(temporary, signal);
    await mkdir(temporary.place, { mode: 0o700 });
    try {
      const argv = ["tar", "--extract", "--gzip", `--file=${file}`, "--force-local", "--same-owner"] as const;
      const how = ["--same-permissions", ...tarKeeps.filter((word) => word !== "--sparse")];
      const cwd = `${placeFor(entry.folder)}/${temporary.name}`;
      await succeed([...argv, ...how], { signal, cwd, timeoutMs: archiveTimeoutMs, act: "unpack" });
      const name = await only(temporary.place, file);
      await exchange(entry, { act: "restore", stood, next: `${temporary.place}/${name}`, executionId, signal });
    } finally {
      await removeEntry(temporary, timeoutSignal(60_000));
    }
  });
}

/** The one thing that an archive of ours holds. */
async function only(folder: string, file: string): Promise<string> {
  const [name, ...more] = await readdir(folder);
  if (name !== undefined && more.length === 0) return name;
  throw refused("unpack", file, "it is no archive of this machine: it does not hold one file or folder");
}

/** SHA-256 and size of a file, read in pieces. */
export async function sumOf(file: string, signal: AbortSignal): Promise<{ sha256: string; bytes: number }> {
  const sum = createHash("sha256");
  let bytes = 0;
  const stream = createReadStream(file);
  stream.on("data", (chunk) => {
    bytes += chunk.length;
  });
  await pipeline(stream, sum, { signal });
  return { sha256: sum.digest("hex"), bytes };
}

/** Throws DATA_LOSS when an archive is not what it was. */
export async function checkSum(file: string, sha256: string, signal: AbortSignal): Promise<void> {
  const now = await sumOf(file, signal);
  if (now.sha256 === sha256) return;
  throw new AiosError("DATA_LOSS", {
    act: "read archive",
    object: file,
    reason: "its content is not what was written (its SHA-256 differs)",
    next: "nothing was changed; use another backup",
  });
}

function checkNoMountPoint({ path }: Entry): void {
  if (mountAt(path) !== undefined) throw mountedThere("restore", path);
}

async function checkRoom(file: string, bytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await statfs(dirname(file));
  const room = (bavail - blocks * freeShare) * bsize;
  if (bytes <= room) return;
  throw refused(
    "back up to",
    file,
    `${bytes} bytes, and its disk has room for ${Math.max(0, Math.floor(room))}`,
    "free some",
  );
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
