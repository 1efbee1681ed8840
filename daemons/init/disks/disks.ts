import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { type KernelFiles, namesIn, type Run, readText } from "../base/index.ts";

interface BlockDevice {
  /** "vda3" */
  readonly name: string;
  /** "/dev/vda3" */
  readonly path: string;
  readonly sizeBytes: number;
  /** The name in the GPT. */
  readonly partitionLabel: string;
  readonly serial: string;
}

/** How a volume is recognised: by its name in the GPT, its disk's serial number, or its file system's label. */
const volumes = {
  data: { name: "aios-data", label: ext4Label },
  provision: { name: "aios-prov", label: fatLabel },
} as const;

/** A disk on a slow bus may show up after init has started. */
const appearWithinMs = 3_000;
const lookAgainMs = 50;

/** Every disk and partition with something on it. */
export function listBlockDevices({ sys, dev }: Pick<KernelFiles, "sys" | "dev">): BlockDevice[] {
  return namesIn(sys, "class/block")
    .map((name) => ({
      name,
      path: join(dev, name),
      sizeBytes: Number(readText(sys, "class/block", name, "size")) * 512,
      partitionLabel: /^PARTNAME=(.*)$/m.exec(readText(sys, "class/block", name, "uevent"))?.[1] ?? "",
      serial: readText(sys, "class/block", name, "serial"),
    }))
    .filter(({ name, sizeBytes }) => sizeBytes > 0 && !/^(loop|ram|zram|dm-)/.test(name));
}

/** The volume that is `kind`, or undefined. Names win over labels: a label can be copied with a file system. */
export function findVolume(devices: readonly BlockDevice[], kind: keyof typeof volumes): BlockDevice | undefined {
  const { name, label } = volumes[kind];
  return (
    devices.find((device) => device.partitionLabel === name || device.serial === name) ??
    devices.find((device) => label(device.path).toLowerCase() === name)
  );
}

/** The data volume, waiting a moment for slow disks. */
export async function awaitDataVolume(kernel: KernelFiles, clock: Clock): Promise<BlockDevice | undefined> {
  const giveUpAt = clock.monotonic() + appearWithinMs;
  for (;;) {
    const found = findVolume(listBlockDevices(kernel), "data");
    if (found !== undefined || clock.monotonic() >= giveUpAt) return found;
    await clock.sleep(lookAgainMs);
  }
}

/**
 * Makes the data volume fit to be mounted: a blank one gets a file system, any other is checked.
 * Throws DATA_LOSS, and leaves every byte as it is, when there is something on it that cannot be read.
 */
export async function prepareDataVolume(device: BlockDevice, run: Run): Promise<"formatted" | "clean" | "repaired"> {
  if (hasExt4(device.path)) return check(device, run);
  if (!isBlank(device.path, device.sizeBytes)) {
    throw unreadable(device, "it holds something that is not an ext4 file system");
  }
  // Inode tables and journal are cleared in the background: a first boot need not wait for them.
  const lazy = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
  await run("mkfs.ext4", ["-q", "-F", "-L", volumes.data.name, "-m", "1", "-E", lazy, device.path]);
  return "formatted";
}

/** fsck's exit code is a set of bits: 1 repaired, 2 repaired (reboot, when it is the root), 4 left damaged. */
async function check(device: BlockDevice, run: Run): Promise<"clean" | "repaired"> {
  const repaired = 1 | 2;
  try {
    const { code } = await run("fsck.ext4", ["-p", device.path], { codes: [0, 1, 2, repaired], timeoutMs: 600_000 });
    return code === 0 ? "clean" : "repaired";
  } catch (error) {
    throw unreadable(device, messageOf(error));
  }
}

function unreadable(device: BlockDevice, reason: string): AiosError {
  return new AiosError("DATA_LOSS", {
    act: "use data volume",
    object: device.path,
    reason,
    next: 'nothing was written to it; choose "repair the data volume" in the boot menu (aios.repair=ask), or erase it to start anew',
  });
}

const superblockAt = 1024;
const magicAt = superblockAt + 0x38;
const labelAt = superblockAt + 0x78;

function hasExt4(path: string): boolean {
  const bytes = readAt(path, magicAt, 2);
  return bytes.length === 2 && bytes.readUInt16LE(0) === 0xef53;
}

function ext4Label(path: string): string {
  return hasExt4(path) ? text(readAt(path, labelAt, 16)) : "";
}

/** The label in the boot sector of FAT32 (at 71) or FAT12 and FAT16 (at 43). */
function fatLabel(path: string): string {
  const sector = readAt(path, 0, 512);
  if (sector.length < 512 || sector.readUInt16LE(510) !== 0xaa55) return "";
  if (text(sector.subarray(82, 87)) === "FAT32") return text(sector.subarray(71, 82));
  return text(sector.subarray(54, 57)) === "FAT" ? text(sector.subarray(43, 54)) : "";
}

/**
 * Whether nothing was ever written to the volume: its first and last mebibyte are zero, and so are the places of ext4's
 * backup superblocks and 64 places between. Zeros at the beginning alone prove nothing: a damaged file system has them too.
 */
export function isBlank(path: string, sizeBytes: number): boolean {
  const file = openSync(path, "r");
  try {
    const mebibyte = 1024 * 1024;
    const groups = [1, 3, 5, 7, 9, 25, 27, 49];
    const places = [
      { at: 0, length: mebibyte },
      { at: Math.max(0, sizeBytes - mebibyte), length: mebibyte },
      ...groups.map((group) => ({ at: group * 128 * mebibyte, length: 4096 })),
      ...groups.map((group) => ({ at: group * 8 * mebibyte, length: 4096 })),
      ...Array.from({ length: 64 }, (_, index) => ({ at: Math.floor((sizeBytes / 64) * index), length: 4096 })),
    ];
    return places.every(({ at, length }) => isZero(readFrom(file, at, length)));
  } finally {
    closeSync(file);
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length));
}

function readAt(path: string, at: number, length: number): Buffer {
  try {
    const file = openSync(path, "r");
    try {
      return readFrom(file, at, length);
    } finally {
      closeSync(file);
    }
  } catch {
    return Buffer.alloc(0);
  }
}

/** Reads the bytes at a place; fewer at the end of the device. */
function readFrom(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}

function text(bytes: Buffer): string {
  return bytes.toString("latin1").replace(/[\0 ]+$/, "");
}
