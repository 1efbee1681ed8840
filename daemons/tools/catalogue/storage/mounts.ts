import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** A mounted file system, as the kernel tells of it. */
export interface Mount {
  /** Of its device: "8:1". */
  readonly device: string;
  readonly path: string;
  readonly type: string;
  readonly source: string;
  /** Options of the mount itself. */
  readonly options: readonly string[];
}

/** What is mounted, in the order of mounting. */
export function mounts(): Mount[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [left = "", right = ""] = line.split(" - ");
      const [, , device = "", , path = "", options = ""] = left.split(" ");
      const [type = "", source = ""] = right.split(" ");
      return { device, path: plain(path), type, source: plain(source), options: options.split(",") };
    });
}

/** The kernel writes blanks and backslashes as octal numbers. */
const plain = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** What lies uppermost at a path; undefined when nothing is mounted there. */
export const mountAt = (path: string): Mount | undefined => mounts().findLast((mount) => mount.path === path);

/** Kernel file systems that hold nothing. */
const hollow =
  /^(proc|sysfs|cgroup2?|devpts|devtmpfs|mqueue|securityfs|debugfs|tracefs|pstore|bpf|configfs|fusectl|hugetlbfs|autofs|binfmt_misc|efivarfs|nsfs|rpc_pipefs)$/;

/** Mounts that hold files. */
export const fileSystems = (): Mount[] => mounts().filter(({ type }) => !hollow.test(type));

/** A block device as sysfs has it. */
export interface BlockDevice {
  /** "vda1" */
  readonly name: string;
  /** "254:1" */
  readonly number: string;
  /** The name of the disk it is a part of, or its own. */
  readonly disk: string;
  readonly sizeBytes: number;
  /** Its name in the partition table. */
  readonly partitionLabel: string;
  readonly serial: string;
  /** Devices made of this one. */
  readonly holders: readonly string[];
}

/** Undefined when there is no block device of this name. */
export function blockDevice(name: string): BlockDevice | undefined {
  const folder = `/sys/class/block/${name}`;
  const number = text(`${folder}/dev`);
  if (number === "") return undefined;
  const partition = text(`${folder}/partition`) !== "";
  return {
    name,
    number,
    disk: partition ? diskOf(name) : name,
    sizeBytes: Number(text(`${folder}/size`)) * 512,
    partitionLabel: /^PARTNAME=(.*)$/m.exec(text(`${folder}/uevent`))?.[1] ?? "",
    serial: text(`${folder}/serial`),
    holders: names(`${folder}/holders`),
  };
}

/** All of a disk: itself and its partitions. */
export function partsOf(disk: string): BlockDevice[] {
  return names("/sys/class/block")
    .map((name) => blockDevice(name))
    .filter((device) => device?.disk === disk)
    .filter((device) => device !== undefined);
}

function diskOf(partition: string): string {
  const disks = names("/sys/block");
  return disks.find((disk) => names(`/sys/block/${disk}`).includes(partition)) ?? partition;
}

/** Names of the devices that memory is swapped to. */
export function swapDevices(): string[] {
  return text("/proc/swaps")
    .split("\n")
    .slice(1)
    .map((line) => basename(line.split(/\s/)[0] ?? ""));
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    // Not every device has every fact.
    return "";
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
