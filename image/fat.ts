import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { epochSeconds, inBuildRoot } from "./build-root.ts";
import { removeTree } from "./files.ts";
import type { StepLog } from "./log.ts";

interface FatVolume {
  /** The image file to make. */
  readonly path: string;
  readonly sizeMiB: number;
  /** At most 11 characters, upper case. */
  readonly label: string;
  /** Eight hex digits. */
  readonly volumeId: string;
  /** Contents by path in the volume. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly log?: StepLog;
}

/** Makes a FAT image with `files` in it, the same bytes for the same content, with the build root's tools. */
export async function writeFat(buildRoot: string, volume: FatVolume): Promise<void> {
  const { path, sizeMiB, label, volumeId, files, log } = volume;
  mkdirSync(dirname(path), { recursive: true });
  const work = mkdtempSync(join(dirname(path), ".fat-"));
  try {
    closeSync(openSync(join(work, "volume"), "w", 0o600));
    truncateSync(join(work, "volume"), sizeMiB * 1024 * 1024);
    mkdirSync(join(work, "content"));
    for (const [name, data] of Object.entries(files)) addFile(join(work, "content"), name, data);
    // Folders and files sorted, so that the order of directory entries does not depend on the host's file system.
    const script = [
      `mkfs.fat ${sizeMiB >= 64 ? "-F 32 " : ""}--invariant -n "$1" -i "$2" /out/volume >&2`,
      "cd /out/content",
      'find . -mindepth 1 -type d | LC_ALL=C sort | while read -r folder; do mmd -i /out/volume "::$folder"; done',
      'find . -type f | LC_ALL=C sort | while read -r file; do mcopy -m -i /out/volume "$file" "::$file"; done',
    ].join("\n");
    const options = log === undefined ? {} : { log };
    await inBuildRoot(buildRoot, ["sh", "-ec", script, "sh", label, volumeId], [{ from: work, at: "/out" }], options);
    renameSync(join(work, "volume"), path);
  } finally {
    removeTree(work);
  }
}

function addFile(folder: string, name: string, data: string | Uint8Array): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, data, { mode: 0o600 });
  utimesSync(path, epochSeconds, epochSeconds);
}
