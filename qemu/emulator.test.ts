import { describe, expect, it } from "vitest";
import { emulatorArguments } from "./emulator.ts";

const options = {
  boot: { kind: "kernel", kernel: "/out/vmlinuz", cmdline: "root=/dev/vda ro" },
  accelerator: "tcg",
  memoryMiB: 2048,
  cpus: 2,
  drives: [
    { path: "/out/root.erofs", serial: "aios-root", readOnly: true },
    { path: "/a,b/data.raw", serial: "aios-data" },
  ],
} as const;

/** Values of an option, in order. */
function values(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ""] : []));
}

describe("emulatorArguments", () => {
  const args = emulatorArguments(options, 40123);

  it("loads our kernel with its command line on a q35 without a graphics card", () => {
    expect(values(args, "-machine")).toEqual(["q35"]);
    expect(values(args, "-kernel")).toEqual(["/out/vmlinuz"]);
    expect(values(args, "-append")).toEqual(["root=/dev/vda ro"]);
    expect(values(args, "-display")).toEqual(["none"]);
  });

  it("leads a port of the host's loopback to 9090, and nothing out of the machine", () => {
    expect(values(args, "-netdev")).toEqual(["user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:40123-:9090"]);
  });

  it("lets a machine that is told so speak to this host", () => {
    const open = emulatorArguments({ ...options, reachesHost: true }, 40123);
    expect(values(open, "-netdev")).toEqual(["user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:40123-:9090"]);
  });

  it("gives drives in order, the root read-only, a comma in a path doubled", () => {
    const drives = values(args, "-drive");
    expect(drives[0]).toMatch(/^file=\/out\/root\.erofs,.*readonly=on$/);
    expect(drives[1]).toMatch(/^file=\/a,,b\/data\.raw,/);
    expect(drives[1]).not.toContain("readonly");
    expect(values(args, "-device").filter((device) => device.startsWith("virtio-blk"))).toEqual([
      "virtio-blk-pci,drive=drive0,serial=aios-root",
      "virtio-blk-pci,drive=drive1,serial=aios-data",
    ]);
  });

  it("boots the firmware from flash, its code read-only", () => {
    const boot = { kind: "firmware", code: "/usr/share/CODE.fd", variables: "/m/vars.fd" } as const;
    const firmware = emulatorArguments({ ...options, boot }, 40123);
    expect(values(firmware, "-kernel")).toEqual([]);
    expect(values(firmware, "-drive").slice(-2)).toEqual([
      "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/CODE.fd",
      "if=pflash,format=raw,unit=1,file=/m/vars.fd",
    ]);
  });
});
