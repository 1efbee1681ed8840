/**
 * Data and overlay are mounted `nosuid,nodev`, and the image's programs carry no set-id bits.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { mountFlags as flag, type Syscalls } from "../base/index.ts";

/** The place of everything that was changed on this machine. */
export type DataSource =
  | { readonly kind: "device"; readonly path: string }
  | { readonly kind: "folder"; readonly path: string }
  /** Memory: the machine works and forgets. */
  | { readonly kind: "memory" };

/** The root that is in effect. */
export interface Root {
  /** The data volume's mount point. Holds `overlay`, `state`, `log` and `home`; only root may look inside. */
  readonly data: string;
  /** The image's own root, below the overlay; undefined when it is the root itself. */
  readonly image?: string;
}

/** In the image: an empty folder to build the new root in. */
const staging = "/mnt/aios";
const newRoot = `${staging}/root`;
const imageAfter = "/mnt/image";
const dataAfter = "/mnt/data";

/** Folders that lie on the data volume itself: SQLite and logs need no copy-up, and recovery without overlay keeps them. */
const fromData = [
  ["state", "/var/lib/aios"],
  ["log", "/var/log/aios"],
  ["home", "/home"],
] as const;

/** Mounts the data volume in the staging folder. Throws what mount(2) says. */
export function mountData(source: DataSource, syscalls: Syscalls): string {
  const data = `${staging}/data`;
  syscalls.mount("tmpfs", staging, "tmpfs", flag.noSuid | flag.noDev, "mode=700,size=1m");
  mkdirSync(data, { mode: 0o700 });
  const flags = flag.noSuid | flag.noDev | flag.noAtime;
  if (source.kind === "device") syscalls.mount(source.path, data, "ext4", flags, "errors=remount-ro");
  if (source.kind === "folder") {
    syscalls.mount(source.path, data, "", flag.bind);
    // A bind mount takes its flags from where it comes from, and others only afterwards.
    syscalls.mount("", data, "", flag.bind | flag.remount | flags);
  }
  if (source.kind === "memory") syscalls.mount("tmpfs", data, "tmpfs", flags, "mode=700,size=50%");
  return data;
}

/** Takes back what mountData did, as far as it came. */
export function unmountData(syscalls: Syscalls): void {
  syscalls.unmount(staging, { lazy: true });
}

/** Puts the changes on the data volume over the image's root, in the staging folder. Nothing is in effect yet: it may throw. */
export function mountOverlay(syscalls: Syscalls): void {
  const [upper, work] = [`${staging}/data/overlay/upper`, `${staging}/data/overlay/work`];
  for (const folder of [newRoot, upper, work]) mkdirSync(folder, { recursive: true });
  syscalls.mount(
    "overlay",
    newRoot,
    "overlay",
    flag.noSuid | flag.noDev,
    `lowerdir=/,upperdir=${upper},workdir=${work}`,
  );
  for (const folder of [imageAfter, dataAfter]) mkdirSync(`${newRoot}${folder}`, { recursive: true, mode: 0o700 });
}

/** Makes the overlay the root; the kernel's files and the data volume move along. */
export function enterOverlay(syscalls: Syscalls): Root {
  for (const target of ["/proc", "/sys", "/dev", "/run", "/tmp"]) {
    syscalls.mount(target, `${newRoot}${target}`, "", flag.move);
  }
  syscalls.mount(`${staging}/data`, `${newRoot}${dataAfter}`, "", flag.move);
  syscalls.pivotRoot(newRoot, `${newRoot}${imageAfter}`);
  process.chdir("/");
  syscalls.unmount(`${imageAfter}${staging}`, { lazy: true });
  return { data: dataAfter, image: imageAfter };
}

/** The root of the image as it is, without overlay. */
export function plainRoot(): Root {
  return { data: `${staging}/data` };
}

/** Mounts the data volume's folders at their places. */
export function bindData({ data }: Root, syscalls: Syscalls): void {
  for (const [folder, target] of fromData) {
    mkdirSync(`${data}/${folder}`, { recursive: true });
    mkdirSync(target, { recursive: true });
    syscalls.mount(`${data}/${folder}`, target, "", flag.bind);
  }
}

/**
 * Unmounts everything that holds data, and the overlay with it: back to the image's own root, then every mount, the
 * innermost first. Gives back the mount points that could not be let go; they were made read-only.
 */
export function leaveRoot(root: Root, syscalls: Syscalls): string[] {
  if (root.image === undefined) return unmountAll("", "/proc", syscalls);
  syscalls.pivotRoot(root.image, `${root.image}${staging}`);
  process.chdir("/");
  return unmountAll(staging, `${staging}/proc`, syscalls);
}

/** File systems that keep nothing: still in use by init itself (its console, its sockets), so they go when it does. */
const volatileTypes = ["proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "cgroup2"];

function unmountAll(below: string, proc: string, syscalls: Syscalls): string[] {
  const mounts = mountsOf(readFileSync(`${proc}/self/mountinfo`, "utf8"))
    .filter(({ target }) => target !== "/" && (target === below || target.startsWith(`${below}/`)))
    .toReversed();
  return mounts.flatMap(({ target, type }) => {
    try {
      syscalls.unmount(target, { lazy: volatileTypes.includes(type) });
      return [];
    } catch {
      return makeReadOnly(target, syscalls) ? [] : [target];
    }
  });
}

function makeReadOnly(target: string, syscalls: Syscalls): boolean {
  try {
    syscalls.mount("", target, "", flag.remount | flag.readOnly);
    return true;
  } catch {
    return false;
  }
}

/** The mounts of /proc/self/mountinfo in the order in which they were made: "36 35 98:0 /root /target options - type …". */
export function mountsOf(mountinfo: string): { target: string; type: string }[] {
  return mountinfo
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [mount = "", fileSystem = ""] = line.split(" - ");
      return { target: plainPath(mount.split(" ")[4] ?? ""), type: fileSystem.split(" ")[0] ?? "" };
    });
}

function plainPath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
