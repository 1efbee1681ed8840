/**
 * What is mounted in a folder is known from the kernel's list of mounts: a folder that is bound from the same file
 * system has its device's number, and programs that keep to one file system go into it.
 */
import { readFileSync } from "node:fs";

/** A mounted file system, as the kernel tells of it. */
export interface Mount {
  /** Of its device: "8:1". */
  readonly device: string;
  /** The folder of the file system that is mounted: "/", or what was bound. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
  readonly source: string;
  /** Options of the mount itself. */
  readonly options: readonly string[];
}

/** The mounts, in the order of mounting. */
export function mounts(): Mount[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [left = "", right = ""] = line.split(" - ");
      const [, , device = "", root = "", path = "", options = ""] = left.split(" ");
      const [type = "", source = ""] = right.split(" ");
      return { device, root: plain(root), path: plain(path), type, source: plain(source), options: options.split(",") };
    });
}

/** The kernel writes blanks and backslashes as octal numbers. */
const plain = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The uppermost mount at a path; undefined when nothing is mounted there. */
export const mountAt = (path: string): Mount | undefined => mounts().findLast((mount) => mount.path === path);

/** The mounts below a path: file systems, and folders and files of the same one that are bound there. */
export const mountsBelow = (path: string): Mount[] =>
  mounts().filter((mount) => mount.path !== path && isWithin(mount.path, path));

/** Kernel file systems that hold nothing. */
const hollow =
  /^(proc|sysfs|cgroup2?|devpts|devtmpfs|mqueue|securityfs|debugfs|tracefs|pstore|bpf|configfs|fusectl|hugetlbfs|autofs|binfmt_misc|efivarfs|nsfs|rpc_pipefs)$/;

/** Mounts that hold files. */
export const fileSystems = (): Mount[] => mounts().filter(({ type }) => !hollow.test(type));

/**
 * Every path by which what lies at `path` is reached, `path` first: a folder that is bound elsewhere and a file system that is
 * mounted twice have several.
 */
export function namesOf(path: string, all: readonly Mount[]): string[] {
  const own = all.reduce<Mount | undefined>(
    (best, mount) => (isWithin(path, mount.path) && mount.path.length >= (best?.path.length ?? 0) ? mount : best),
    undefined,
  );
  if (own === undefined) return [path];
  const inside = joined(own.root, below(path, own.path));
  const others = all
    .filter((mount) => mount !== own && mount.device === own.device)
    .flatMap((mount) => {
      if (isWithin(inside, mount.root)) return [joined(mount.path, below(inside, mount.root))];
      return isWithin(mount.root, inside) ? [mount.path] : [];
    });
  return [...new Set([path, ...others])];
}

export const isWithin = (path: string, folder: string): boolean =>
  path.startsWith(folder) && (folder === "/" || path.length === folder.length || path[folder.length] === "/");

/** The rest of a path behind `folder`: "" or "/name…". */
const below = (path: string, folder: string) => (folder === "/" ? path : path.slice(folder.length));

const joined = (folder: string, rest: string) => (folder === "/" ? rest || "/" : rest === "/" ? folder : folder + rest);
