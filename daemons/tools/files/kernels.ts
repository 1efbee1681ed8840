import { readFileSync, type Stats, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { AiosError } from "#lib/errors";
import { machineProcess } from "../proc.ts";
import { standingAt } from "./hard-links.ts";
import type { Access } from "./paths.ts";

/** The kernel's own file systems, by the number that statfs(2) gives, as linux/magic.h has them: their files are switches and tables. */
const types: ReadonlyMap<number, string> = new Map([
  [0x9fa0, "proc"],
  [0x6265_6572, "sysfs"],
  [0x0027_e0eb, "cgroup"],
  [0x6367_7270, "cgroup2"],
  [0x7472_6163, "tracefs"],
  [0x6462_6720, "debugfs"],
  [0x7363_6673, "securityfs"],
  [0x6265_6570, "configfs"],
  [0xde5e_81e4, "efivarfs"],
  [0xcafe_4a11, "bpf"],
  [0x6165_676c, "pstore"],
  [0x1cd1, "devpts"],
  [0x1980_0202, "mqueue"],
  [0x4249_4e4d, "binfmt_misc"],
  [0x6573_5543, "fusectl"],
  [0x6e73_6673, "nsfs"],
  [0x0765_5821, "resctrl"],
  [0xf97c_ff8c, "selinuxfs"],
  [0x4341_5d53, "smackfs"],
  [0x0187, "autofs"],
  [0x6759_6969, "rpc_pipefs"],
]);

/**
 * The kernel's file system that `path`, which stands and was `found`, lies in; undefined for one that holds content. Devices count:
 * theirs has no number of its own.
 */
export function kernelsOwn(path: string, found: Stats): string | undefined {
  // 32 bits, which some kernels give with a sign.
  const type = types.get(statfsSync(path).type >>> 0);
  if (type !== undefined) return type;
  return found.dev === statSync("/dev").dev && found.dev !== statSync("/").dev ? "device" : undefined;
}

/**
 * Throws FAILED_PRECONDITION when a change, or a copy of a folder, would be of the kernel's files. `path` is resolved; `found` is what
 * stands there, itself, undefined when nothing does.
 */
export function checkContent(path: string, access: Access, found: Stats | undefined): void {
  if (access === "read") return;
  const [place, there] = standing(path, found);
  const type = kernelsOwn(place, there);
  if (type === undefined || (access === "copy" && !found?.isDirectory())) return;
  throw notContent(access, path, type);
}

export function notContent(act: string, path: string, type: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act,
    object: path,
    reason: `it lies in a ${type} file system, whose files are the kernel's and no content`,
    next: "use the tool of what is to be set, such as net.configure or process.cgroup",
  });
}

/** The path itself, or the deepest folder above it that exists, and what stands there. A link at its end stands for itself. */
function standing(path: string, found: Stats | undefined): readonly [string, Stats] {
  const outer = dirname(path);
  if (found === undefined) return standing(outer, standingAt(outer));
  return found.isSymbolicLink() ? [outer, statSync(outer)] : [path, found];
}

/** The targets of the machine's own /proc/net and /proc/mounts: they tell of the machine, not of the process. */
const ofTheMachine = /^\/proc\/\d+\/(net(\/.*)?|mounts)$/;

/**
 * Throws PERMISSION_DENIED for what /proc shows of a process that the machine stands on: memory, environment, open files.
 * `path` is resolved, so /proc/self is the process of the tools.
 */
export function checkProcess(path: string, access: Access): void {
  const [, number] = /^\/proc\/(\d+)(?:\/|$)/.exec(path) ?? [];
  if (number === undefined || ofTheMachine.test(path)) return;
  const why = machineProcess(processOfThread(Number(number)));
  if (why === undefined) return;
  throw new AiosError("PERMISSION_DENIED", {
    act: access,
    object: path,
    reason: `process ${number} is not for file tools: ${why}`,
    next: "process.info tells of processes",
  });
}

/** /proc/N answers for the number of a thread too. */
function processOfThread(number: number): number {
  try {
    return Number(/^Tgid:\s+(\d+)/m.exec(readFileSync(`/proc/${number}/status`, "utf8"))?.[1] ?? number);
  } catch {
    // It ended.
    return number;
  }
}
