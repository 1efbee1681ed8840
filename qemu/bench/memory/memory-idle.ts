import { setTimeout as delay } from "node:timers/promises";
import { consoleLines } from "#manifest";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { type Machine, startMachine } from "../../machine.ts";
import { processorMs, residentMb } from "../timing.ts";
import type { Part } from "./part.ts";

const idleBudgetPercent = 1;

/** After the boot, and how long is looked. */
const settleMs = 20_000;
const lookMs = 60_000;
const bootTimeoutMs = 120_000;

/** What memory and its vector server take of a core while nobody asks them anything, in the native lane. */
export const idlePart: Part = async ({ images, accelerator, folder, say }) => {
  const machine = await startMachine({
    lane: "native",
    data: "folder",
    images: await images(),
    folder: folder("idle"),
    operatorFolder: folder("operator"),
    accelerator,
    name: "idle",
  });
  try {
    await machine.waitFor(consoleLines.ready, bootTimeoutMs);
    await machine.reached(bootTimeoutMs);
    const chromaPid = await vectorsReady(machine);
    await delay(settleMs);
    const found = machine.processes();
    const memory = found.find(({ argv }) => argv.some((word) => word.endsWith("/memory.cjs")));
    const chroma = found.find(({ pid }) => pid === chromaPid);
    if (memory === undefined || chroma === undefined) throw new Error("memory or its vector server is not running");
    const used = () => [memory, chroma].map(({ hostPid }) => processorMs(hostPid));
    const before = used();
    await delay(lookMs);
    const [own = 0, vectors = 0] = used().map((ms, at) => ((ms - (before[at] ?? 0)) / lookMs) * 100);
    say(`bench: memory: idle ${own.toFixed(2)} % and ${vectors.toFixed(2)} % of a core`);
    return [
      { name: "idle.memory_and_chroma", value: own + vectors, unit: "percent", budget: idleBudgetPercent },
      { name: "idle.memory", value: own, unit: "percent" },
      { name: "idle.chroma", value: vectors, unit: "percent" },
      { name: "idle.memory.resident", value: residentMb(memory.hostPid), unit: "MB" },
      { name: "idle.chroma.resident", value: residentMb(chroma.hostPid), unit: "MB" },
    ];
  } finally {
    await machine.powerOff();
  }
};

/** Waits until vectors can be searched; returns the vector server's process. */
async function vectorsReady(machine: Machine): Promise<number> {
  const memory = machine.client(MemoryQueryService);
  try {
    for (const until = performance.now() + bootTimeoutMs; performance.now() < until; await delay(500)) {
      const { vectorsReady, chromaPid } = await memory.searchStatus({});
      if (vectorsReady) return chromaPid;
    }
    throw new Error(`no vectors after ${bootTimeoutMs / 1_000} s`);
  } finally {
    memory.close();
  }
}
