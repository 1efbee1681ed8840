import { readdir, readFile } from "node:fs/promises";
import * as Type from "typebox";
import { errnoOf } from "#lib/errors";
import { memoryInfo } from "#lib/linux/proc";
import { reads, type Tool } from "../../tool.ts";
import { type KernelFolders, object } from "../shared/index.ts";

export const infoTool = (at: KernelFolders): Tool =>
  reads({
    name: "hw.info",
    summary: "Tells what the machine is made of: processor, memory in MiB, GPU, disks.",
    input: object({}),
    output: object({
      cpu: Type.String({ description: "the processor's name" }),
      cores: Type.Integer({ minimum: 1 }),
      ram_mb: Type.Integer(),
      gpu: Type.String({ description: 'the GPUs, or "none"' }),
      storage: Type.Array(object({ name: Type.String(), size_gb: Type.Number({ description: "GiB" }) })),
    }),
    capabilities: ["hw:read"],
    timeoutMs: 5_000,
    run: async () => ({
      ...(await processor(at)),
      ram_mb: Math.round(memoryInfo(at.proc)("MemTotal") / 1024),
      gpu: await gpus(at),
      storage: await disks(at),
    }),
  });

async function processor({ proc }: KernelFolders): Promise<{ cpu: string; cores: number }> {
  const text = await readFile(`${proc}/cpuinfo`, "utf8");
  return {
    cpu: /^model name\s*: (.*)$/m.exec(text)?.[1] ?? "unknown",
    cores: text.match(/^processor\s*:/gm)?.length ?? 1,
  };
}

const vendors: Readonly<Record<string, string>> = { "0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel" };

/** PCI devices of the display class. */
async function gpus({ sys }: KernelFolders): Promise<string> {
  const devices = `${sys}/bus/pci/devices`;
  const found: string[] = [];
  for (const slot of await names(devices)) {
    const kind = await word(`${devices}/${slot}/class`);
    if (!kind.startsWith("0x03")) continue;
    const vendor = await word(`${devices}/${slot}/vendor`);
    found.push(`${vendors[vendor] ?? vendor} ${await word(`${devices}/${slot}/device`)} at ${slot}`);
  }
  return found.join(", ") || "none";
}

/** Disks as /sys/block has them, without those that are no hardware. */
async function disks({ sys }: KernelFolders): Promise<{ name: string; size_gb: number }[]> {
  const found = [];
  for (const name of await names(`${sys}/block`)) {
    if (/^(loop|ram|zram|dm-|md|fd|sr)/.test(name)) continue;
    // The kernel counts in sectors of 512 bytes, whatever the disk does.
    const bytes = Number(await word(`${sys}/block/${name}/size`)) * 512;
    if (bytes > 0) found.push({ name, size_gb: Math.round((bytes / 2 ** 30) * 100) / 100 });
  }
  return found;
}

async function names(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    // A machine without PCI, or without a disk.
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

const word = async (path: string) => (await readFile(path, "utf8")).trim();
