import { AiosError } from "#lib/errors";
import { type KernelFolders, known, linkName, namesIn, numberOf, runProgram, textOf } from "../shared/index.ts";

/** A display adapter: what sysfs says, and of NVIDIA's, which say nothing there, what nvidia-smi does. */
interface Gpu {
  readonly slot: string;
  readonly vendor: string;
  readonly name: string;
  readonly driver?: string;
  readonly memory_total_mb?: number;
  readonly memory_used_mb?: number;
  readonly percent?: number;
  readonly temperature?: number;
  readonly power_watts?: number;
}

const vendors: Readonly<Record<string, string>> = { "0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel" };

const mebibyte = 1 / 2 ** 20;

/** Display adapters on PCI, in the order of their slots. */
export async function readGpus({ sys }: KernelFolders, nvidiaSmi: string, signal: AbortSignal): Promise<Gpu[]> {
  const devices = `${sys}/bus/pci/devices`;
  const slots = await namesIn(devices);
  const found = await Promise.all(slots.map((slot) => readGpu(`${devices}/${slot}`, slot)));
  const gpus = found.flatMap((gpu) => gpu ?? []);
  if (!gpus.some(({ vendor }) => vendor === "NVIDIA")) return gpus;
  const told = await askNvidia(nvidiaSmi, signal);
  return gpus.map((gpu) => ({ ...gpu, ...told.get(gpu.slot) }));
}

async function readGpu(folder: string, slot: string): Promise<Gpu | undefined> {
  if ((await textOf(`${folder}/class`))?.startsWith("0x03") !== true) return undefined;
  const vendor = (await textOf(`${folder}/vendor`)) ?? "";
  const sensors = `${folder}/hwmon/${(await namesIn(`${folder}/hwmon`))[0] ?? "none"}`;
  return known({
    slot,
    vendor: vendors[vendor] ?? vendor,
    name: `${vendors[vendor] ?? vendor} ${(await textOf(`${folder}/device`)) ?? ""}`,
    driver: await linkName(`${folder}/driver`),
    // As amdgpu has them.
    memory_total_mb: await numberOf(`${folder}/mem_info_vram_total`, mebibyte),
    memory_used_mb: await numberOf(`${folder}/mem_info_vram_used`, mebibyte),
    percent: await numberOf(`${folder}/gpu_busy_percent`),
    temperature: await numberOf(`${sensors}/temp1_input`, 0.001),
    power_watts: await numberOf(`${sensors}/power1_average`, 0.000001),
  }) as Gpu;
}

const asked = ["pci.bus_id", "name", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu", "power.draw"];

/** Asks NVIDIA's own program, by slot. Gives nothing where there is none, or it cannot reach its driver. */
async function askNvidia(program: string, signal: AbortSignal): Promise<Map<string, Partial<Gpu>>> {
  const argv = [program, `--query-gpu=${asked.join()}`, "--format=csv,noheader,nounits"] as const;
  try {
    const { exitCode, stdout } = await runProgram(argv, { signal, timeoutMs: 8_000 });
    return new Map(exitCode === 0 ? stdout.trim().split("\n").map(readNvidia) : []);
  } catch (error) {
    if (error instanceof AiosError && error.code === "FAILED_PRECONDITION") return new Map();
    throw error;
  }
}

/** One line of CSV. What a card cannot tell is "[N/A]"; its slot has a domain of eight digits where sysfs has four. */
function readNvidia(line: string): [string, Partial<Gpu>] {
  const [slot = "", name, ...numbers] = line.split(", ");
  const [total, used, percent, temperature, power] = numbers.map((word) => {
    const value = Number(word);
    return Number.isFinite(value) ? value : undefined;
  });
  const told = { name, memory_total_mb: total, memory_used_mb: used, percent, temperature, power_watts: power };
  return [slot.toLowerCase().slice(-12), known(told) as Partial<Gpu>];
}
