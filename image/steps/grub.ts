import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inBuildRoot } from "../build-root.ts";
import { slot } from "../slot.ts";
import type { Step } from "../step.ts";

/** What GRUB's core image can do: read the disk, find the slot, show a menu on screen and serial line, start Linux. */
const modules = [
  ...["part_gpt", "disk", "fat", "normal", "configfile", "test", "echo", "regexp", "sleep", "ls", "cat"],
  ...["linux", "serial", "terminal", "terminfo", "efi_gop", "all_video", "boot", "reboot", "halt"],
];

/**
 * The menu. Each slot brings its own kernel and command line (see slot.ts); an entry only says which slot, and what is
 * added. `$fw_path` (`$cmdpath` outside Debian) is where the firmware found GRUB, so the disk is the one that GRUB was
 * started from, however many there are.
 */
const menu = `set timeout=2
set default=0
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console
set from="$cmdpath"
if [ -z "$from" ]; then set from="$fw_path"; fi
regexp --set=1:disk '^\\((.*),[^,]*\\)' "$from"
set slot_a=(\${disk},gpt${slot.partition})
menuentry "aiOS" { set aios=""; source \${slot_a}${slot.scriptSector}+${slot.scriptSectors} }
menuentry "aiOS recovery (without the writable layer)" { set aios="aios.overlay=off"; source \${slot_a}${slot.scriptSector}+${slot.scriptSectors} }
menuentry "aiOS, repair the data volume (asks first)" { set aios="aios.repair=ask"; source \${slot_a}${slot.scriptSector}+${slot.scriptSectors} }
menuentry "Restart" { reboot }
`;

/** GRUB for UEFI firmware as one file (`BOOTX64.EFI`) with its menu inside: the boot partition holds nothing else. */
export function grubStep(): Step {
  return {
    name: "grub",
    modules: [import.meta.filename],
    files: [],
    params: { modules, menu },
    needs: ["buildroot"],
    run: async ({ out, need, log }) => {
      writeFileSync(join(out, "grub.cfg"), menu);
      const argv = [
        ...[
          "grub-mkstandalone",
          "--format=x86_64-efi",
          "--output=/out/BOOTX64.EFI",
          "--fonts=",
          "--locales=",
          "--themes=",
        ],
        ...[
          `--install-modules=${modules.join(" ")}`,
          `--modules=${modules.join(" ")}`,
          "boot/grub/grub.cfg=/out/grub.cfg",
        ],
      ];
      await inBuildRoot(join(need("buildroot"), "tree"), argv, [{ from: out, at: "/out" }], { log });
    },
  };
}
