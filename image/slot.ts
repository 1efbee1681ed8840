/**
 * A slot: one partition that holds everything that boots. The kernel mounts the erofs at its start; behind it, at fixed
 * places that GRUB reads by sector (GRUB 2.12 has no erofs), are a script with the command line, and the kernel. Writing a
 * slot therefore replaces root, kernel and command line together, and nothing on the boot partition changes.
 *
 *   0 ─ erofs ─ … ─ 448 MiB ─ script (4 KiB) ─ kernel ─ … ─ 512 MiB
 */
export const slot = {
  partition: 2,
  sizeMiB: 512,
  rootSizeMiBMax: 448,
  scriptSector: 448 * 2048,
  scriptSectors: 8,
  kernelSector: 448 * 2048 + 8,
  kernelSizeMiBMax: 63,
} as const;

const sectorSize = 512;

/** The GRUB script of a slot, padded to its fixed size. `$aios` is what the menu entry adds to the command line. */
export function slotScript(kernelBytes: number, commandLine: readonly string[]): Buffer {
  const sectors = Math.ceil(kernelBytes / sectorSize);
  const text = `echo "aiOS: starting"\nlinux \${slot_a}${slot.kernelSector}+${sectors} ${commandLine.join(" ")} $aios\n`;
  const size = slot.scriptSectors * sectorSize;
  if (Buffer.byteLength(text) > size) throw new Error(`the slot's script is longer than ${size} bytes`);
  return Buffer.from(text.padEnd(size, "\n"));
}

/**
 * What the kernel is told at every boot from `root`. `quiet`: the console shows its errors only, as what the kernel prints
 * there lands in the middle of the lines of the boot's story; its whole log is in the machine.
 */
export function kernelCommandLine(root: string, consoles: readonly string[]): string[] {
  return [
    ...[`root=${root}`, "rootfstype=erofs", "rootwait", "ro", "init=/usr/sbin/aios-init"],
    ...consoles.map((console) => `console=${console}`),
    "panic=10",
    "quiet",
  ];
}
