import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findVolume, listBlockDevices } from "../disks/disks.ts";
import { readHardware, shortfalls } from "./hardware.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-hardware-");
});
afterEach(() => rmSync(folder, { recursive: true }));

const kernel = () => ({ proc: join(folder, "proc"), sys: join(folder, "sys"), dev: join(folder, "dev") });

function put(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), `${text}\n`);
}

function link(path: string, to: string): void {
  mkdirSync(join(folder, to), { recursive: true });
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  symlinkSync(join(folder, to), join(folder, path));
}

describe("hardware", () => {
  it("finds what the kernel shows", () => {
    const core = (number: number) =>
      `processor\t: ${number}\nmodel name\t: A CPU 9000\nflags\t\t: fpu avx2 aes hypervisor\n`;
    put("proc/cpuinfo", [core(0), core(1)].join("\n"));
    put("proc/meminfo", "MemTotal:        2048000 kB\nMemFree: 1 kB");
    put("proc/sys/kernel/osrelease", "6.12.1-aios");
    put("sys/bus/pci/devices/0000:01:00.0/class", "0x030000");
    put("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de");
    put("sys/bus/pci/devices/0000:01:00.0/device", "0x2684");
    link("sys/bus/pci/devices/0000:01:00.0/driver", "sys/bus/pci/drivers/nvidia");
    put("sys/bus/pci/devices/0000:02:00.0/class", "0x030200");
    put("sys/bus/pci/devices/0000:02:00.0/vendor", "0x1234");
    put("sys/bus/pci/devices/0000:00:02.0/class", "0x038000");
    put("sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086");
    put("sys/bus/pci/devices/0000:00:1f.0/class", "0x060100");
    put("sys/block/vda/size", "8388608");
    put("sys/block/vda/serial", "aios-data");
    put("sys/block/nvme0n1/size", "2048");
    put("sys/block/nvme0n1/device/model", "FAST 1T");
    put("sys/block/nvme0n1/removable", "1");
    put("sys/block/loop0/size", "100");
    put("sys/block/sr0/size", "100");
    put("sys/block/sda/size", "0");
    put("sys/class/net/lo/type", "772");
    put("sys/class/net/eth0/type", "1");
    put("sys/class/net/eth0/address", "52:54:00:12:34:56");
    link("sys/class/net/eth0/device/driver", "sys/drivers/virtio_net");
    put("sys/class/net/dummy0/type", "1");
    put("dev/watchdog", "");
    put("sys/firmware/efi/runtime", "");

    expect(readHardware(kernel())).toEqual({
      cpu: { model: "A CPU 9000", cores: 2, flags: ["avx2", "aes", "hypervisor"] },
      ramBytes: 2048000 * 1024,
      gpus: [
        { vendor: "intel", device: "", pci: "0000:00:02.0", class: "display" },
        { vendor: "nvidia", device: "0x2684", pci: "0000:01:00.0", class: "vga", driver: "nvidia" },
        { vendor: "0x1234", device: "", pci: "0000:02:00.0", class: "3d" },
      ],
      disks: [
        { name: "nvme0n1", sizeBytes: 1048576, model: "FAST 1T", serial: "", removable: true, readOnly: false },
        { name: "vda", sizeBytes: 4294967296, model: "", serial: "aios-data", removable: false, readOnly: false },
      ],
      nics: [{ name: "eth0", mac: "52:54:00:12:34:56", driver: "virtio_net" }],
      watchdog: true,
      firmware: "uefi",
      kernel: "6.12.1-aios",
    });
    expect(shortfalls(readHardware(kernel()))).toEqual([]);
  });

  it("finds nothing in an empty machine, says what is too little, and fails at nothing", () => {
    const found = readHardware(kernel());
    expect(found).toMatchObject({ gpus: [], disks: [], nics: [], watchdog: false, firmware: "bios" });
    const [cores, memory] = shortfalls(found);
    expect(cores).toContain("0 processors");
    expect(memory).toContain("at least 512");
  });

  it("takes a machine sold with 512 MiB, and not one with 400", () => {
    const withMemory = (mebibytes: number) => ({ ...readHardware(kernel()), ramBytes: mebibytes * 2 ** 20 });
    const one = { model: "", cores: 1, flags: [] };
    expect(shortfalls({ ...withMemory(470), cpu: one })).toEqual([]);
    expect(shortfalls({ ...withMemory(400), cpu: one })).toHaveLength(1);
  });
});

describe("volumes", () => {
  it("are found by partition name or serial before any label", () => {
    for (const name of ["vda", "vda1", "vda3", "vdb", "loop1"]) put(`sys/class/block/${name}/size`, "2048");
    put("sys/class/block/vda3/uevent", "DEVNAME=vda3\nPARTNAME=aios-data");
    put("sys/class/block/vdb/serial", "aios-prov");
    put("sys/class/block/vdc/size", "0");
    // A copy of the data volume's file system, elsewhere.
    const copy = Buffer.alloc(4096);
    copy.writeUInt16LE(0xef53, 1024 + 0x38);
    copy.write("aios-data", 1024 + 0x78);
    mkdirSync(join(folder, "dev"));
    writeFileSync(join(folder, "dev/vda1"), copy);
    const devices = listBlockDevices(kernel());
    expect(devices.map(({ name }) => name)).toEqual(["vda", "vda1", "vda3", "vdb"]);
    expect(findVolume(devices, "data")?.name).toBe("vda3");
    expect(findVolume(devices, "provision")?.name).toBe("vdb");
    expect(
      findVolume(
        devices.filter(({ name }) => name !== "vda3"),
        "data",
      )?.name,
    ).toBe("vda1");
    expect(findVolume([], "data")).toBeUndefined();
  });

  it("are found by the label of a FAT file system, 16 or 32 bits", () => {
    const fat = (at: number, kindAt: number, kind: string) => {
      const sector = Buffer.alloc(512);
      sector.write("AIOS-PROV  ", at);
      sector.write(kind, kindAt);
      sector.writeUInt16LE(0xaa55, 510);
      return sector;
    };
    mkdirSync(join(folder, "dev"));
    for (const [name, sector] of [
      ["sda1", fat(43, 54, "FAT16   ")],
      ["sdb1", fat(71, 82, "FAT32   ")],
      ["sdc1", Buffer.alloc(512)],
    ] as const) {
      put(`sys/class/block/${name}/size`, "2048");
      writeFileSync(join(folder, "dev", name), sector);
    }
    const devices = listBlockDevices(kernel());
    expect(findVolume(devices, "provision")?.name).toBe("sda1");
    expect(findVolume(devices.slice(1), "provision")?.name).toBe("sdb1");
    expect(findVolume(devices.slice(2), "provision")).toBeUndefined();
  });
});
