import * as Type from "typebox";
import { memoryInfo } from "#lib/linux/proc";
import { reads, type Tool } from "../../tool.ts";
import { type KernelFolders, known, linkName, namesIn, numberOf, object, round, textOf } from "../shared/index.ts";
import { readGpus } from "./gpu.ts";

/** Devices of a kind that are told at most. */
const devicesMax = 256;

const facts = {
  input: object({}),
  capabilities: ["hw:read"],
  timeoutMs: 10_000,
} as const;

const text = Type.Optional(Type.String());
const number = Type.Optional(Type.Number());
const gibibyte = 1 / 2 ** 30;

/** The tools of hw that go into one kind of device. */
export function deviceTools(at: KernelFolders, nvidiaSmi = "nvidia-smi"): readonly Tool[] {
  return [cpuTool(at), memoryTool(at), gpuTool(at, nvidiaSmi), storageTool(at), networkTool(at), sensorsTool(at)];
}

const cpuTool = ({ proc, sys }: KernelFolders) =>
  reads({
    name: "hw.cpu",
    summary:
      "Tells of the processors: model, sockets, cores, clock, caches, features, and what they are vulnerable to.",
    ...facts,
    output: object({
      model: Type.String(),
      vendor: Type.String(),
      sockets: Type.Integer({ minimum: 1 }),
      cores: Type.Integer({ minimum: 1 }),
      threads: Type.Integer({ minimum: 1 }),
      mhz: number,
      mhz_max: number,
      caches: Type.Array(object({ level: Type.Integer(), type: Type.String(), size: Type.String() })),
      virtualized: Type.Boolean({ description: "this is a virtual machine" }),
      features: Type.Array(Type.String()),
      vulnerabilities: Type.Array(object({ name: Type.String(), state: Type.String() })),
    }),
    run: async () => {
      const processors = ((await textOf(`${proc}/cpuinfo`)) ?? "").split("\n\n").map(fieldsOf);
      const [first = new Map<string, string>()] = processors;
      const distinct = (key: (fields: Map<string, string>) => string) => new Set(processors.map(key)).size;
      const features = (first.get("flags") ?? "").split(" ").filter((flag) => flag !== "");
      const cpu = `${sys}/devices/system/cpu`;
      return known({
        model: first.get("model name") ?? "unknown",
        vendor: first.get("vendor_id") ?? "unknown",
        sockets: distinct((fields) => fields.get("physical id") ?? ""),
        cores: distinct((fields) => `${fields.get("physical id")} ${fields.get("core id") ?? fields.get("processor")}`),
        threads: processors.length,
        mhz: Number(first.get("cpu MHz")) || undefined,
        mhz_max: await numberOf(`${cpu}/cpu0/cpufreq/cpuinfo_max_freq`, 0.001),
        caches: await caches(`${cpu}/cpu0/cache`),
        virtualized: features.includes("hypervisor"),
        features,
        vulnerabilities: await Promise.all(
          (await namesIn(`${cpu}/vulnerabilities`)).map(async (name) => ({
            name,
            state: (await textOf(`${cpu}/vulnerabilities/${name}`)) ?? "unknown",
          })),
        ),
      });
    },
  });

function fieldsOf(block: string): Map<string, string> {
  return new Map(
    block.split("\n").map((line) => {
      const [name = "", value = ""] = line.split(/\s*:\s*(.*)/s);
      return [name, value];
    }),
  );
}

async function caches(folder: string) {
  const found = await Promise.all(
    (await namesIn(folder)).map(async (name) => ({
      level: await numberOf(`${folder}/${name}/level`),
      type: (await textOf(`${folder}/${name}/type`))?.toLowerCase() ?? "",
      size: (await textOf(`${folder}/${name}/size`)) ?? "",
    })),
  );
  return found.flatMap(({ level, ...more }) => (level === undefined ? [] : { level, ...more }));
}

const memoryTool = ({ proc, sys }: KernelFolders) =>
  reads({
    name: "hw.memory",
    summary: "Tells of the memory in MiB: all of it, swap, huge pages, NUMA nodes, and errors that were corrected.",
    ...facts,
    output: object({
      total_mb: Type.Integer(),
      swap_mb: Type.Integer(),
      huge_page_kb: Type.Integer(),
      huge_pages: Type.Integer({ description: "set aside" }),
      nodes: Type.Array(object({ node: Type.Integer(), total_mb: Type.Integer() })),
      errors: Type.Optional(object({ corrected: Type.Integer(), uncorrected: Type.Integer() })),
    }),
    run: async () => {
      const kib = memoryInfo(proc);
      const nodes = (await namesIn(`${sys}/devices/system/node`)).filter((name) => /^node\d+$/.test(name));
      return known({
        total_mb: Math.round(kib("MemTotal") / 1024),
        swap_mb: Math.round(kib("SwapTotal") / 1024),
        huge_page_kb: kib("Hugepagesize"),
        huge_pages: kib("HugePages_Total"),
        nodes: await Promise.all(
          nodes.map(async (name) => {
            const info = (await textOf(`${sys}/devices/system/node/${name}/meminfo`)) ?? "";
            const total = Number(/MemTotal:\s+(\d+)/.exec(info)?.[1] ?? 0);
            return { node: Number(name.slice(4)), total_mb: Math.round(total / 1024) };
          }),
        ),
        errors: await memoryErrors(`${sys}/devices/system/edac/mc`),
      });
    },
  });

/** The counts of the memory controllers; undefined on machines whose memory cannot tell. */
async function memoryErrors(folder: string) {
  const controllers = (await namesIn(folder)).filter((name) => /^mc\d+$/.test(name));
  if (controllers.length === 0) return undefined;
  const sum = async (file: string) => {
    const counts = await Promise.all(controllers.map((name) => numberOf(`${folder}/${name}/${file}`)));
    return counts.reduce<number>((total, count) => total + (count ?? 0), 0);
  };
  return { corrected: await sum("ce_count"), uncorrected: await sum("ue_count") };
}

const gpuTool = (at: KernelFolders, nvidiaSmi: string) =>
  reads({
    name: "hw.gpu",
    summary: "Lists the graphics processors with driver and memory.",
    ...facts,
    output: object({
      gpus: Type.Array(
        object({
          slot: Type.String({ description: "on the PCI bus" }),
          vendor: Type.String(),
          name: Type.String(),
          driver: text,
          memory_total_mb: number,
        }),
      ),
    }),
    run: async ({ signal }) => ({
      gpus: (await readGpus(at, nvidiaSmi, signal)).map(({ slot, vendor, name, driver, memory_total_mb }) =>
        known({ slot, vendor, name, driver, memory_total_mb }),
      ),
    }),
  });

const storageTool = ({ sys }: KernelFolders) =>
  reads({
    name: "hw.storage",
    summary: "Lists the disks with size, kind and partitions.",
    ...facts,
    output: object({
      disks: Type.Array(
        object({
          name: Type.String(),
          size_gb: Type.Number({ description: "GiB" }),
          model: text,
          serial: text,
          kind: Type.Enum(["rotating", "solid"]),
          removable: Type.Boolean(),
          read_only: Type.Boolean(),
          scheduler: text,
          partitions: Type.Array(object({ name: Type.String(), size_gb: Type.Number() })),
        }),
      ),
    }),
    run: async () => {
      const names = (await namesIn(`${sys}/block`)).filter((name) => !/^(loop|ram|zram|dm-|md|fd|sr)/.test(name));
      const disks = await Promise.all(names.slice(0, devicesMax).map((name) => disk(`${sys}/block/${name}`, name)));
      return { disks: disks.filter(({ size_gb: size }) => size > 0) };
    },
  });

/** The kernel counts in sectors of 512 bytes, whatever the disk does. */
const sizeOf = async (folder: string) => (await numberOf(`${folder}/size`, 512 * gibibyte)) ?? 0;

async function disk(folder: string, name: string) {
  const parts = (await namesIn(folder)).filter((part) => part.startsWith(name));
  return known({
    name,
    size_gb: await sizeOf(folder),
    model: (await textOf(`${folder}/device/model`)) || undefined,
    serial: ((await textOf(`${folder}/device/serial`)) ?? (await textOf(`${folder}/serial`))) || undefined,
    kind: (await textOf(`${folder}/queue/rotational`)) === "1" ? ("rotating" as const) : ("solid" as const),
    removable: (await textOf(`${folder}/removable`)) === "1",
    read_only: (await textOf(`${folder}/ro`)) === "1",
    scheduler: /\[(.+)\]/.exec((await textOf(`${folder}/queue/scheduler`)) ?? "")?.[1],
    partitions: await Promise.all(
      parts.map(async (part) => ({ name: part, size_gb: await sizeOf(`${folder}/${part}`) })),
    ),
  });
}

const networkTool = ({ sys }: KernelFolders) =>
  reads({
    name: "hw.network",
    summary: "Lists the network devices with driver, speed and carrier.",
    ...facts,
    output: object({
      devices: Type.Array(
        object({
          name: Type.String(),
          mac: text,
          physical: Type.Boolean(),
          driver: text,
          speed_mbit: number,
          duplex: text,
          carrier: Type.Boolean(),
          state: text,
        }),
      ),
    }),
    run: async () => {
      const names = await namesIn(`${sys}/class/net`);
      return {
        devices: await Promise.all(names.slice(0, devicesMax).map((name) => nic(`${sys}/class/net/${name}`, name))),
      };
    },
  });

async function nic(folder: string, name: string) {
  const speed = await numberOf(`${folder}/speed`);
  return known({
    name,
    mac: (await textOf(`${folder}/address`)) || undefined,
    physical: (await linkName(`${folder}/device`)) !== undefined,
    driver: await linkName(`${folder}/device/driver`),
    // -1 is what a device says whose speed means nothing.
    speed_mbit: speed !== undefined && speed > 0 ? speed : undefined,
    duplex: await textOf(`${folder}/duplex`),
    carrier: (await textOf(`${folder}/carrier`)) === "1",
    state: await textOf(`${folder}/operstate`),
  });
}

/** How sensors of each kind are named below hwmon, and what makes their numbers degrees, volts, turns, amperes and watts. */
const sensorKinds = [
  { prefix: "temp", unit: "celsius", factor: 0.001 },
  { prefix: "in", unit: "volt", factor: 0.001 },
  { prefix: "fan", unit: "rpm", factor: 1 },
  { prefix: "curr", unit: "ampere", factor: 0.001 },
  { prefix: "power", unit: "watt", factor: 0.000001 },
] as const;

const sensor = object({
  device: Type.String(),
  name: Type.String(),
  value: Type.Number(),
  unit: Type.Enum(sensorKinds.map(({ unit }) => unit)),
  critical: Type.Optional(Type.Number({ description: "from where on it is too much" })),
});

const sensorsTool = (at: KernelFolders) =>
  reads({
    name: "hw.sensors",
    summary: "Reads the sensors for temperature, voltage, current, power and fans.",
    ...facts,
    output: object({ sensors: Type.Array(sensor) }),
    run: async () => ({ sensors: await readSensors(at) }),
  });

/** Every sensor below hwmon, and the thermal zones that are not among them. */
export async function readSensors({ sys }: KernelFolders) {
  const folders = (await namesIn(`${sys}/class/hwmon`)).map((name) => `${sys}/class/hwmon/${name}`);
  const zones = (await namesIn(`${sys}/class/thermal`)).filter((name) => name.startsWith("thermal_zone"));
  const all = [...folders.map(hwmon), ...zones.map((name) => zone(`${sys}/class/thermal/${name}`, name))];
  return (await Promise.all(all)).flat().slice(0, devicesMax);
}

async function hwmon(folder: string) {
  const device = (await textOf(`${folder}/name`)) ?? "unknown";
  const files = await namesIn(folder);
  const found = await Promise.all(
    sensorKinds.flatMap(({ prefix, unit, factor }) =>
      files
        .flatMap((file) => new RegExp(`^(${prefix}\\d+)_(?:input|average)$`).exec(file) ?? [])
        .filter((word) => !word.includes("_"))
        .map(async (name) => {
          const value =
            (await numberOf(`${folder}/${name}_input`, factor)) ??
            (await numberOf(`${folder}/${name}_average`, factor));
          const label = (await textOf(`${folder}/${name}_label`)) ?? name;
          const critical = await numberOf(`${folder}/${name}_crit`, factor);
          return value === undefined ? [] : [known({ device, name: label, value: round(value), unit, critical })];
        }),
    ),
  );
  return found.flat();
}

async function zone(folder: string, name: string) {
  const value = await numberOf(`${folder}/temp`, 0.001);
  const device = (await textOf(`${folder}/type`)) ?? name;
  return value === undefined ? [] : [{ device, name, value, unit: "celsius" as const }];
}
