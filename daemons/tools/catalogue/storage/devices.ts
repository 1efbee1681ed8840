import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

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
