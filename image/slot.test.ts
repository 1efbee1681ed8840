import { expect, test } from "vitest";
import { kernelCommandLine, slot, slotScript } from "./slot.ts";

test("the script has its fixed size and covers the kernel's last, partly filled sector", () => {
  const script = slotScript(1025, ["ro"]);
  expect(script.length).toBe(slot.scriptSectors * 512);
  expect(script.toString()).toContain(`linux \${slot_a}${slot.kernelSector}+3 ro $aios\n`);
});

test("the parts of a slot do not overlap and end within it", () => {
  expect(slot.rootSizeMiBMax * 2048).toBeLessThanOrEqual(slot.scriptSector);
  expect(slot.scriptSector + slot.scriptSectors).toBeLessThanOrEqual(slot.kernelSector);
  expect(slot.kernelSector + slot.kernelSizeMiBMax * 2048).toBeLessThanOrEqual(slot.sizeMiB * 2048);
});

test("a command line that does not fit the script is refused", () => {
  expect(() => slotScript(1, ["x".repeat(5000)])).toThrow("longer than 4096 bytes");
});

test("the last console is the machine's own", () => {
  expect(kernelCommandLine("/dev/vda", ["ttyS0,115200", "tty0"]).filter((word) => word.startsWith("console="))).toEqual(
    ["console=ttyS0,115200", "console=tty0"],
  );
});
