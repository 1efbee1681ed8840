import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { consoleLines, layout } from "#manifest";
import type { Images } from "../images.ts";
import { bootTimeoutMs, type Lane, type Machine, startMachine } from "../machine.ts";
import { type BootReport, bootReport } from "../report.ts";
import type { Bench, BenchHost } from "./bench.ts";
import { measureRebuild } from "./rebuild.ts";
import type { Measure } from "./row.ts";
import { median as medianOf } from "./timing.ts";

const megabyte = 1_000_000;

/** Autonomy with all eight agents, ms after kernel start: two cores, without KVM. */
const autonomyBudgetMs: Readonly<Partial<Record<Lane, number>>> = { native: 3_000, qemu: 15_000 };
const userlandBudgetMb = 450;
const rootBudgetMb = 150;
const rebuildBudgetMs = 10_000;
const agentsBudget = 8;

/** Boots measured after the first, of which the median counts. */
const laterBoots: Readonly<Partial<Record<Lane, number>>> = { native: 5, qemu: 3 };

/** Not counted as userland: what a model's and Chroma's size decides. */
const modelOrChroma = /runtime-worker|chroma/i;

/** The timeline of the native and the QEMU lane, memory, sizes and the time of a rebuild. */
export const bootBench: Bench = async (host) => {
  const images = await host.images();
  return measures(host, images);
};

const measures = async (host: BenchHost, images: Images): Promise<readonly Measure[]> => [
  ...(await lane("native", host, images)),
  ...(await lane("qemu", host, images)),
  ...Object.entries(images.bytes).map(([name, bytes]) => ({
    name: `image.${name}`,
    value: bytes / megabyte,
    unit: "MB" as const,
    ...(name === "root.erofs" && { budget: rootBudgetMb }),
  })),
  { name: "image.rebuild_one_daemon", value: await measureRebuild(host), unit: "ms", budget: rebuildBudgetMs },
];

async function lane(which: Lane, host: BenchHost, images: Images): Promise<Measure[]> {
  const folder = mkdtempSync(join(tmpdir(), "aios-bench-"));
  try {
    const first = await boot(which, folder, host, images);
    const later: Booted[] = [];
    for (let count = laterBoots[which] ?? 0; count > 0; count--) later.push(await boot(which, folder, host, images));
    const median =
      later.sort((a, b) => a.report.autonomyMs - b.report.autonomyMs)[Math.floor(later.length / 2)] ?? first;
    const budget = autonomyBudgetMs[which];
    return [
      { name: `${which}.first_boot.autonomy`, value: first.report.autonomyMs, unit: "ms", ...(budget && { budget }) },
      { name: `${which}.autonomy`, value: median.report.autonomyMs, unit: "ms", ...(budget && { budget }) },
      { name: `${which}.first_boot.processor`, value: first.processorMs, unit: "ms" },
      { name: `${which}.processor`, value: medianOf(later.map(({ processorMs }) => processorMs)), unit: "ms" },
      { name: `${which}.agents`, value: median.report.agents, unit: "count", budget: agentsBudget },
      ...timeline(which, median.report),
      ...median.memory,
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Booted {
  readonly report: BootReport;
  /** Processor time from the start of the kernel, or of init, to the ready line. Milliseconds. */
  readonly processorMs: number;
  readonly memory: readonly Measure[];
}

async function boot(which: Lane, folder: string, host: BenchHost, images: Images): Promise<Booted> {
  const { accelerator } = host;
  const operatorFolder = join(folder, "operator");
  const machine = await startMachine({
    ...{ lane: which, images, folder, operatorFolder, accelerator },
    // As at the commits that it is compared with.
    ...(which === "native" && { data: "folder" }),
  });
  try {
    const line = await machine.waitFor(consoleLines.ready, bootTimeoutMs[which]);
    const processorMs = machine.processorMs();
    host.say(`bench: ${which}: ${line.text}; ${Math.round(processorMs)} ms of processor time`);
    await machine.reached(bootTimeoutMs[which]);
    const memory = which === "native" ? [...userland(machine), javascript(machine, images.rootTree)] : [];
    const report = await bootReport(machine, {});
    await machine.powerOff();
    return { report, processorMs, memory };
  } catch (error) {
    await machine.cut();
    throw error;
  }
}

function timeline(which: Lane, report: BootReport): Measure[] {
  const ms = (name: string, value: number): Measure => ({ name: `${which}.${name}`, value, unit: "ms" });
  return [
    ms("first_javascript", report.firstJavascriptMs),
    ...report.phases.map((phase) => ms(`phase.${phase.name}`, phase.ms)),
    ...report.units.map((unit) => ms(`unit.${unit.name}.ready`, unit.readyMs)),
    ...report.units.map(({ name, pssBytes }) => ({
      name: `${which}.unit.${name}.pss`,
      value: pssBytes / megabyte,
      unit: "MB" as const,
    })),
  ];
}

/** Files that a program loads at every boot, beside the one that it is started by. Other commits' programs are one file. */
const loadedBy = (program: string): readonly string[] =>
  program === layout.init
    ? ["init.cjs", "init-machine.cjs"].map((name) => `${layout.lib}/code/${name}`)
    : [`${layout.lib}/code/${basename(program)}`];

/** The JavaScript that the programs of the machine read to start, each process its own; what a boot loads of their parts is not counted. */
function javascript(machine: Machine, root: string): Measure {
  const programs = machine
    .processes()
    .flatMap(({ argv }) =>
      argv.filter((word) => word === layout.init || /^\/usr\/lib\/aios\/[a-z-]+\.[cm]js$/.test(word)),
    );
  const files = programs.flatMap((program) => [program, ...loadedBy(program)]).map((path) => join(root, path));
  const bytes = files.filter((path) => existsSync(path)).reduce((sum, path) => sum + statSync(path).size, 0);
  return { name: "native.javascript", value: bytes / megabyte, unit: "MB" };
}

/** Memory of every process of the machine, init and agents among them, as the host's kernel counts it. */
function userland(machine: Machine): Measure[] {
  const processes = machine.processes();
  const counted = processes.filter(({ argv }) => !modelOrChroma.test(argv.join(" ")));
  const sum = (list: typeof processes) => list.reduce((total, { pssBytes }) => total + pssBytes, 0) / megabyte;
  return [
    { name: "native.userland.pss", value: sum(counted), unit: "MB", budget: userlandBudgetMb },
    { name: "native.userland.processes", value: counted.length, unit: "count" },
    {
      name: "native.model_and_chroma.pss",
      value: sum(processes.filter((each) => !counted.includes(each))),
      unit: "MB",
    },
  ];
}
