import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { dataDiskBytes, makeVolume } from "./disks.ts";

/** What stands for the data partition of a native machine. */
export interface DataPlace {
  /** An image of its file system, or a folder. */
  readonly path: string;
  /** What a person is to know of it. */
  readonly remark?: string;
}

const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

/** A native machine's own data, in `folder`: a file system of a data disk's size, so that a machine can fill it and not its host's. */
export function prepareDataVolume(folder: string): DataPlace {
  const { status, stderr, error } = spawnSync("losetup", ["--find"], { encoding: "utf8", env });
  if (status === 0) return { path: volumeIn(folder) };
  const reason = (stderr || error?.message || "").trim();
  const { path } = prepareDataFolder(folder);
  return {
    path,
    remark: `native lane: no loop device (${reason}): the data lies in ${path}, and only its disk bounds it`,
  };
}

/** The same as a folder of this host's file system: whoever is on this host can look into it. */
export function prepareDataFolder(folder: string): DataPlace {
  const path = join(folder, "data");
  mkdirSync(path, { recursive: true });
  return { path };
}

function volumeIn(folder: string): string {
  const path = join(folder, "data.ext4");
  if (!existsSync(path)) makeVolume(path, dataDiskBytes);
  return path;
}
