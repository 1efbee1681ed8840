import { mkdirSync, symlinkSync } from "node:fs";
import { errnoOf } from "#lib/errors";
import { mountFlags as flag, type Syscalls } from "../base/index.ts";
import type { Cmdline } from "../early/index.ts";

interface Mount {
  readonly type: string;
  readonly target: string;
  readonly flags: number;
  readonly data?: string;
  /** The machine does without it when the kernel has no such file system. */
  readonly optional?: boolean;
}

const hardened = flag.noSuid | flag.noExec | flag.noDev;

const devices: Mount = { type: "devtmpfs", target: "/dev", flags: flag.noSuid, data: "mode=755" };

/**
 * The kernel's file systems in the order in which they are mounted. Node needs /dev/null and /proc before it spawns. The native
 * lane has made its devices: devtmpfs is one for the whole host.
 */
export function kernelMounts(lane: Cmdline["lane"]): readonly Mount[] {
  return [
    ...(lane === "machine" ? [devices] : []),
    { type: "proc", target: "/proc", flags: hardened },
    { type: "sysfs", target: "/sys", flags: lane === "native" ? hardened | flag.readOnly : hardened },
    { type: "devpts", target: "/dev/pts", flags: flag.noSuid | flag.noExec, data: "mode=620,gid=5,ptmxmode=666" },
    { type: "tmpfs", target: "/dev/shm", flags: flag.noSuid | flag.noDev, data: "mode=1777" },
    { type: "tmpfs", target: "/run", flags: flag.noSuid | flag.noDev, data: "mode=755,size=128m" },
    { type: "tmpfs", target: "/tmp", flags: flag.noSuid | flag.noDev, data: "mode=1777,size=25%" },
    { type: "cgroup2", target: "/sys/fs/cgroup", flags: hardened, optional: true },
  ];
}

/** Programs expect these; devtmpfs does not make them. */
const deviceLinks = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
] as const;

/** Mounts the kernel's file systems. Gives back what the kernel has not, by type. */
export function mountKernelFiles(lane: Cmdline["lane"], syscalls: Syscalls): string[] {
  const missing = kernelMounts(lane).flatMap((mount) => mountOne(mount, syscalls));
  if (lane === "native") closeKernelSettings(syscalls);
  for (const [to, path] of deviceLinks) ignoring("EEXIST", () => symlinkSync(to, path));
  return missing;
}

function mountOne({ type, target, flags, data, optional }: Mount, syscalls: Syscalls): string[] {
  // Below /dev: the mount before has made the place empty.
  if (target.startsWith("/dev/")) mkdirSync(target, { recursive: true });
  try {
    syscalls.mount(type, target, type, flags, data);
  } catch (error) {
    // EBUSY: the kernel has mounted /dev already.
    if (errnoOf(error) === "EBUSY") return [];
    if (optional) return [type];
    throw error;
  }
  return [];
}

/** Files below /proc that set the kernel, which is the host's here: read-only, as container runtimes have them. */
const kernelSettings = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"] as const;
/** Settings of the machine's own network stay its own. */
const networkSettings = "/proc/sys/net";

/**
 * A whole /proc beside the one with closed parts: the kernel lets a user name space, such as a sandbox's, mount one of its own
 * only where a whole one is in sight. It opens nothing: whoever is root here could mount it too.
 */
const wholeProc = "/run/aios-proc";

function closeKernelSettings(syscalls: Syscalls): void {
  mkdirSync(wholeProc, { mode: 0o700 });
  syscalls.mount("proc", wholeProc, "proc", hardened);
  const bind = (path: string) => syscalls.mount(path, path, "", flag.bind);
  for (const path of kernelSettings) {
    ignoring("ENOENT", () => {
      bind(path);
      // Before the folder around it is closed: a mount of its own keeps its flags.
      if (networkSettings.startsWith(`${path}/`)) bind(networkSettings);
      syscalls.mount("", path, "", flag.bind | flag.remount | flag.readOnly | hardened);
    });
  }
}

function ignoring(code: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (errnoOf(error) !== code) throw error;
  }
}
