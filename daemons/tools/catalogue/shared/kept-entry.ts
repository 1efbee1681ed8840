import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { type Backups, backupSizeMaxBytes } from "../../state/index.ts";
import { type Entry, placeFor, refused } from "./entry.ts";
import { succeed } from "./program.ts";
import { type Measure, measure } from "./tree.ts";

/** The options by which tar(1) keeps all of a file, and gives it back. */
export const tarKeeps = ["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "--sparse"] as const;

/**
 * Keeps an entry with all that lies in it as the backup `name`.
 * Throws FAILED_PRECONDITION when it is larger than a backup may be.
 */
export async function keepEntry(entry: Entry, name: string, backups: Backups, signal: AbortSignal): Promise<Measure> {
  const measured = await measure(entry, signal);
  if (measured.bytes > backupSizeMaxBytes) throw tooLarge(entry.path, measured.bytes);
  const folder = await mkdtemp(`${tmpdir()}/aios-keep-`);
  try {
    const file = `${folder}/tar`;
    const argv = [
      "tar",
      "--create",
      `--file=${file}`,
      "--format=posix",
      "--one-file-system",
      ...tarKeeps,
      "--",
      `./${entry.name}`,
    ] as const;
    await succeed(argv, { signal, cwd: placeFor(entry.folder), act: "back up" });
    const kept = await open(file, "r");
    try {
      await backups.save(name, kept, entry.path);
    } finally {
      await kept.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return measured;
}

/** Puts an entry that was kept back into its folder. What stands there is left as it is, and what is missing added. */
export async function putBackEntry(entry: Entry, name: string, backups: Backups, signal: AbortSignal): Promise<void> {
  const kept = await backups.load(name);
  const plain = kept instanceof Uint8Array;
  try {
    const file = plain ? "-" : `/proc/${process.pid}/fd/${kept.fd}`;
    const argv = [
      "tar",
      "--extract",
      `--file=${file}`,
      "--skip-old-files",
      "--same-owner",
      "--same-permissions",
    ] as const;
    const options = { signal, cwd: placeFor(entry.folder), act: "restore", ...(plain && { input: kept }) };
    await succeed([...argv, ...tarKeeps.filter((word) => word !== "--sparse")], options);
  } finally {
    if (!plain) await kept.close();
  }
}

function tooLarge(path: string, bytes: number) {
  return refused(
    "back up",
    path,
    `${bytes} bytes, and at most ${backupSizeMaxBytes} are kept, so the change could not be undone`,
    "nothing was changed; go by parts, or delete with permanent=true",
  );
}
