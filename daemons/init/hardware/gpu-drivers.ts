import { chmodSync, chownSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "#lib/errors";
import { users } from "#manifest";
import { type Faults, type KernelFiles, namesIn, type Run, readText } from "../base/index.ts";
import type { Gpu } from "./hardware.ts";

/** GPUs whose drivers are modules of the image; those of virtual machines have none. */
const vendors: readonly string[] = ["nvidia", "amd", "intel"];

/** A driver that takes longer to load must not hold up the boot. */
const loadTimeoutMs = 15_000;

interface GpuWorld {
  readonly files: Pick<KernelFiles, "sys" | "dev">;
  readonly command: Run;
  readonly faults: Faults;
  /** chown(2); a test has no right to it. */
  readonly own?: (path: string, uid: number, gid: number) => void;
}

/**
 * Loads the drivers of GPUs that have none yet, and lets the runtime use what these drive: without udev the kernel's
 * device files are root's alone, and the runtime is not root. A GPU without a driver is a fault, and done without.
 */
export async function prepareGpus(
  gpus: readonly Gpu[],
  { files, command, faults, own = chownSync }: GpuWorld,
): Promise<void> {
  const known = gpus.filter(({ vendor }) => vendors.includes(vendor));
  for (const { pci, vendor } of known.filter(({ driver }) => driver === undefined)) {
    const alias = readText(files.sys, "bus/pci/devices", pci, "modalias");
    try {
      await command("modprobe", ["--all", "--use-blacklist", alias], { timeoutMs: loadTimeoutMs });
    } catch (error) {
      const next = "models run on the processor; build with --profile metal, which has drivers for GPUs";
      faults.raise(`gpu-${pci}`, `GPU ${pci} (${vendor}) has no driver: ${messageOf(error)}; ${next}`);
    }
  }
  if (known.length === 0) return;
  for (const path of deviceFiles(files.dev)) {
    own(path, 0, users["aios-runtime"].gid);
    chmodSync(path, 0o660);
  }
}

function deviceFiles(dev: string): string[] {
  const render = namesIn(dev, "dri").filter((name) => name.startsWith("renderD"));
  const others = namesIn(dev).filter((name) => name === "kfd" || /^nvidia(\d+|ctl|-uvm|-uvm-tools)$/.test(name));
  return [...render.map((name) => join(dev, "dri", name)), ...others.map((name) => join(dev, name))];
}
