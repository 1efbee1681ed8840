import { closeSync, openSync, readFileSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { inBuildRoot } from "../build-root.ts";
import { writeFat } from "../fat.ts";
import { removeTree } from "../files.ts";
import { type Profile, profileSpecs } from "../profile.ts";
import { kernelCommandLine, slot, slotScript } from "../slot.ts";
import type { Step, StepWork } from "../step.ts";

const mib = 1024 * 1024;

/** Fixed, so that every build of a tree makes the same bytes. */
const ids = {
  disk: "A105A105-0000-4000-8000-000000000001",
  esp: "A105A105-0000-4000-8000-000000000002",
  slotA: "A105A105-0000-4000-8000-00000000000A",
  data: "A105A105-0000-4000-8000-00000000000D",
} as const;

const espSizeMiB = 64;
const firstMiB = 1;

/**
 * The disk to flash (`disk.img`, sparse): boot partition with GRUB, slot A, and an empty partition `aios-data` to the
 * end, which aios-init formats at the first boot.
 */
export function diskStep(profile: Profile, sizeMiB: number): Step {
  return {
    name: `disk-${profile}`,
    modules: [import.meta.filename],
    files: [],
    params: { ids, sizeMiB, consoles: profileSpecs[profile].consoles },
    needs: ["buildroot", "grub", `kernel-${profile}`, `erofs-${profile}`],
    run: async (work) => {
      const { out, need } = work;
      const disk = join(out, "disk.img");
      closeSync(openSync(disk, "w"));
      truncateSync(disk, sizeMiB * mib);
      await partition(work, sizeMiB);
      const esp = join(out, "esp.img");
      await writeFat(join(need("buildroot"), "tree"), {
        path: esp,
        sizeMiB: espSizeMiB,
        label: "AIOS-ESP",
        volumeId: "a1050001",
        files: { "EFI/BOOT/BOOTX64.EFI": readFileSync(join(need("grub"), "BOOTX64.EFI")) },
        log: work.log,
      });
      const kernel = readFileSync(join(need(`kernel-${profile}`), "vmlinuz"));
      const root = join(need(`erofs-${profile}`), "root.erofs");
      requireFits("the root file system", statSync(root).size, slot.rootSizeMiBMax);
      requireFits("the kernel", kernel.length, slot.kernelSizeMiBMax);
      const slotStart = (firstMiB + espSizeMiB) * mib;
      const commandLine = kernelCommandLine(`PARTUUID=${ids.slotA.toLowerCase()}`, profileSpecs[profile].consoles);
      writeAt(disk, firstMiB * mib, readFileSync(esp));
      writeAt(disk, slotStart, readFileSync(root));
      writeAt(disk, slotStart + slot.scriptSector * 512, slotScript(kernel.length, commandLine));
      writeAt(disk, slotStart + slot.kernelSector * 512, kernel);
      removeTree(esp);
    },
  };
}

async function partition({ out, need, log }: StepWork, sizeMiB: number): Promise<void> {
  const slotEnd = firstMiB + espSizeMiB + slot.sizeMiB;
  if (sizeMiB < slotEnd + 256)
    throw new AiosError("INVALID_ARGUMENT", {
      act: "partition",
      object: `a disk of ${sizeMiB} MiB`,
      reason: `boot partition, slot and the smallest data partition take ${slotEnd + 256} MiB`,
      next: "ask for a larger --disk-size",
    });
  const argv = [
    ...["sgdisk", "--clear", `--disk-guid=${ids.disk}`, "--set-alignment=2048"],
    ...[
      `--new=1:${firstMiB}MiB:+${espSizeMiB}MiB`,
      "--typecode=1:EF00",
      "--change-name=1:aios-esp",
      `--partition-guid=1:${ids.esp}`,
    ],
    ...[
      `--new=2:${firstMiB + espSizeMiB}MiB:+${slot.sizeMiB}MiB`,
      "--typecode=2:8304",
      "--change-name=2:aios-root-a",
      `--partition-guid=2:${ids.slotA}`,
    ],
    ...[`--new=3:${slotEnd}MiB:0`, "--typecode=3:8300", "--change-name=3:aios-data", `--partition-guid=3:${ids.data}`],
    "/out/disk.img",
  ];
  await inBuildRoot(join(need("buildroot"), "tree"), argv, [{ from: out, at: "/out" }], { log });
}

function requireFits(what: string, bytes: number, limitMiB: number): void {
  if (bytes <= limitMiB * mib) return;
  throw new AiosError("RESOURCE_EXHAUSTED", {
    act: "place",
    object: `${what} in its slot`,
    reason: `it has ${Math.ceil(bytes / mib)} MiB, the slot has room for ${limitMiB}`,
    next: "take packages out of rootfs/packages.list, or enlarge the slot in image/slot.ts",
  });
}

/** Writes all but runs of zeros, which stay holes. */
function writeAt(path: string, start: number, data: Buffer): void {
  const file = openSync(path, "r+");
  try {
    for (let at = 0; at < data.length; at += mib) {
      const part = data.subarray(at, at + mib);
      if (part.some((byte) => byte !== 0)) writeSync(file, part, 0, part.length, start + at);
    }
  } finally {
    closeSync(file);
  }
}
