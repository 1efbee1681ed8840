import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { memoryInfo } from "#lib/linux/proc";
import { type KernelFiles, namesIn, readText } from "../base/index.ts";

/** The machine's hardware: /run/aios/hardware.json. */
export interface Hardware {
  readonly cpu: { readonly model: string; readonly cores: number; readonly flags: readonly string[] };
  readonly ramBytes: number;
  readonly gpus: readonly Gpu[];
  readonly disks: readonly Disk[];
  readonly nics: readonly Nic[];
  readonly watchdog: boolean;
  readonly firmware: "uefi" | "bios";
  readonly kernel: string;
}

export interface Gpu {
  /** "nvidia", "amd", "intel", or the PCI vendor number as in "0x1234". */
  readonly vendor: string;
  /** PCI device number, "0x2684". */
  readonly device: string;
  /** PCI address, "0000:01:00.0". */
  readonly pci: string;
  readonly class: "vga" | "3d" | "display";
  /** The kernel driver bound to it. */
  readonly driver?: string;
}

interface Disk {
  readonly name: string;
  readonly sizeBytes: number;
  readonly model: string;
  readonly serial: string;
  readonly removable: boolean;
  readonly readOnly: boolean;
}

export interface Nic {
  readonly name: string;
  readonly mac: string;
  readonly driver?: string;
}

const gpuClasses: Readonly<Record<string, Gpu["class"]>> = { "0x0300": "vga", "0x0302": "3d", "0x0380": "display" };
const gpuVendors: Readonly<Record<string, string>> = { "0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel" };

/** CPU features that decide how fast models run, or whether the machine can keep secrets and time. */
const flagsOfInterest = [
  ...[
    "sse4_2",
    "avx",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "f16c",
    "fma",
  ],
  ...["aes", "sha_ni", "rdrand", "rdseed", "hypervisor", "vmx", "svm", "constant_tsc", "nonstop_tsc"],
];

/** Below this a machine cannot do its work. */
const minimums = { cores: 1, ramBytes: 512 * 1024 * 1024 } as const;

/** A machine sold with 512 MiB shows less: the kernel and the firmware keep some. */
const reservedShare = 0.15;

/** Reads what the kernel found. What is not there is absent, never an error. */
export function readHardware({ proc, sys, dev }: KernelFiles): Hardware {
  return {
    cpu: readCpu(readText(proc, "cpuinfo")),
    ramBytes: memoryInfo(proc)("MemTotal") * 1024,
    gpus: namesIn(sys, "bus/pci/devices").flatMap((pci) => gpuAt(sys, pci) ?? []),
    disks: namesIn(sys, "block").flatMap((name) => diskAt(sys, name) ?? []),
    nics: listNics(sys),
    watchdog: existsSync(join(dev, "watchdog")),
    firmware: existsSync(join(sys, "firmware/efi")) ? "uefi" : "bios",
    kernel: readText(proc, "sys/kernel/osrelease"),
  };
}

/** The shortages of the machine, each with the next step; empty when there is none. */
export function shortfalls({ cpu, ramBytes }: Hardware): string[] {
  const mebibytes = (bytes: number) => Math.round(bytes / 1024 / 1024);
  return [
    ...(cpu.cores >= minimums.cores ? [] : [`${cpu.cores} processors found, at least ${minimums.cores} is needed`]),
    ...(ramBytes >= minimums.ramBytes * (1 - reservedShare)
      ? []
      : [
          `${mebibytes(ramBytes)} MiB of memory, at least ${mebibytes(minimums.ramBytes)} are needed; ` +
            "give the machine more memory",
        ]),
  ];
}

function readCpu(cpuinfo: string): Hardware["cpu"] {
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "").trim().split(/\s+/));
  return {
    model: (/^model name\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "unknown").trim(),
    cores: cpuinfo.match(/^processor\s*:/gm)?.length ?? 0,
    flags: flagsOfInterest.filter((flag) => flags.has(flag)),
  };
}

function gpuAt(sys: string, pci: string): Gpu | undefined {
  const folder = join(sys, "bus/pci/devices", pci);
  const kind = gpuClasses[readText(folder, "class").slice(0, 6)];
  if (kind === undefined) return undefined;
  const vendor = readText(folder, "vendor");
  return {
    vendor: gpuVendors[vendor] ?? vendor,
    device: readText(folder, "device"),
    pci,
    class: kind,
    ...driverOf(folder),
  };
}

/** Disks, not the loop devices, RAM disks and mapped ones the kernel also lists. */
function diskAt(sys: string, name: string): Disk | undefined {
  const folder = join(sys, "block", name);
  const sizeBytes = Number(readText(folder, "size")) * 512;
  if (!/^(sd|vd|xvd|nvme|mmcblk)/.test(name) || sizeBytes === 0) return undefined;
  return {
    name,
    sizeBytes,
    model: readText(folder, "device/model"),
    serial: readText(folder, "serial") || readText(folder, "device/serial"),
    removable: readText(folder, "removable") === "1",
    readOnly: readText(folder, "ro") === "1",
  };
}

/** Network interfaces that speak Ethernet: hardware ones, and the one end of a pair that a name space has. */
export function listNics(sys: string): readonly Nic[] {
  return namesIn(sys, "class/net").flatMap((name) => nicAt(sys, name) ?? []);
}

/** Not what programs make of interfaces: bridges, which containers have, VLANs and the like, tunnels. */
function nicAt(sys: string, name: string): Nic | undefined {
  const folder = join(sys, "class/net", name);
  const ethernet = readText(folder, "type") === "1";
  const virtual = /^(dummy|tunl|sit|gre|ip6|br|bond|tap|tun|docker|veth)/.test(name);
  if (!ethernet || virtual || /^DEVTYPE=/m.test(readText(folder, "uevent"))) return undefined;
  if (existsSync(join(folder, "bridge")) || existsSync(join(folder, "tun_flags"))) return undefined;
  return { name, mac: readText(folder, "address"), ...driverOf(join(folder, "device")) };
}

function driverOf(device: string): { driver?: string } {
  try {
    return { driver: realpathSync(join(device, "driver")).split("/").at(-1) ?? "" };
  } catch {
    return {};
  }
}
