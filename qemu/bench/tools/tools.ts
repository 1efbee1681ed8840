import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench } from "../bench.ts";
import { quantile, repeat } from "../repeat.ts";
import type { Measure } from "../row.ts";
import { type Caller, startBare, startFileServer, startTools } from "./tools-callers.ts";
import { callsWanted, memoryBench } from "./tools-memory.ts";

const aloneBudgetMs = 3;
const fsyncOfBudgetMs = 1;
const throughputBudget = 2_000;
const overheadBudgetMs = 0.3;
const verificationBudget = 100_000;

const inFlight = 64;
const callsToWarmUp = 2_000;
const callsAlone = 1_000;
const callsTogether = 10_000;

/** The acts that are compared, by the name of the tool. */
type Act = "fs.read" | "fs.write" | "monitor.cpu";
const acts: readonly Act[] = ["fs.read", "fs.write", "monitor.cpu"];

/**
 * Calls through the whole pipeline with its durable ledger, on the disk and in memory (where an fsync is free), against the
 * same acts by a bare gRPC handler and by the file-system server of the Model Context Protocol, in the same run.
 */
export const toolsBench: Bench = async ({ repository, words, say }) => {
  const calls = callsWanted(words);
  if (calls !== undefined) return memoryBench(repository, calls, say);
  const disk = mkdtempSync(join(tmpdir(), "aios-bench-tools-"));
  const memory = existsSync("/dev/shm") ? mkdtempSync("/dev/shm/aios-bench-tools-") : disk;
  try {
    const fsyncMs = fsyncTime(disk);
    const bare = await measure("bare", disk, await startBare(repository, disk), say);
    const server = await measure("mcp_stdio", disk, await startFileServer(disk), say);
    const durable = await startTools(repository, disk);
    const onDisk = await measure("pipeline", disk, durable, say, { budgets: fsyncMs <= fsyncOfBudgetMs });
    const free = await startTools(repository, memory);
    const inMemory = await measure("pipeline_without_fsync", memory, free, say, { long: true });
    const p50 = (rows: readonly Measure[], act: string) =>
      rows.find(({ name }) => name.endsWith(`${act}.p50`))?.value ?? 0;
    const overhead = await overBare(repository, memory, say);
    const ratios = acts.flatMap((act) =>
      [
        { name: "bare", rows: bare },
        { name: "mcp", rows: server },
      ]
        .filter(({ rows }) => p50(rows, act) > 0)
        .map(({ name, rows }) => ({
          name: `pipeline.${act}.times_${name}`,
          value: p50(onDisk, act) / p50(rows, act),
          unit: "times" as const,
        })),
    );
    return [
      { name: "disk.fsync.p50", value: fsyncMs, unit: "ms" },
      ...onDisk,
      ...inMemory,
      ...overhead,
      ...ratios,
      ...bare,
      ...server,
    ];
  } finally {
    for (const folder of new Set([disk, memory])) rmSync(folder, { recursive: true, force: true });
  }
};

/**
 * What the pipeline costs over the bare handler, both acting in memory and called by turns, a hundred calls each: what else the
 * machine does meanwhile slows both alike.
 */
async function overBare(repository: string, folder: string, say: (line: string) => void): Promise<readonly Measure[]> {
  const callers = [await startBare(repository, folder), await startTools(repository, folder)] as const;
  try {
    const rows: Measure[] = [];
    for (const act of acts) {
      const calls = callers.flatMap((caller) => callOf(caller, act, folder) ?? []);
      const times: number[][] = calls.map(() => []);
      for (const call of calls) await repeat(callsToWarmUp, inFlight, call);
      for (let round = 0; round < 15; round += 1)
        for (const [at, call] of calls.entries()) times[at]?.push(...(await repeat(100, 1, call)).times);
      const [bare = 0, pipeline = 0] = times.map((some) =>
        quantile(
          some.sort((a, b) => a - b),
          0.5,
        ),
      );
      say(`bench: in memory, by turns: ${act} ${bare.toFixed(3)} ms bare, ${pipeline.toFixed(3)} ms by the pipeline`);
      rows.push(
        { name: `by_turns.${act}.bare.p50`, value: bare, unit: "ms" },
        { name: `by_turns.${act}.pipeline.p50`, value: pipeline, unit: "ms" },
        { name: `by_turns.${act}.over_bare`, value: pipeline - bare, unit: "ms", budget: overheadBudgetMs },
      );
    }
    return rows;
  } finally {
    for (const caller of callers) await caller.close();
  }
}

interface Wanted {
  /** State what the latency alone may be: it is stated for a disk whose fsync takes a millisecond. */
  readonly budgets?: boolean;
  /** Measure the verification of the ledger too. */
  readonly long?: boolean;
}

async function measure(
  name: string,
  folder: string,
  caller: Caller,
  say: (line: string) => void,
  { budgets = false, long = false }: Wanted = {},
): Promise<readonly Measure[]> {
  try {
    const rows: Measure[] = [];
    for (const act of acts) {
      const call = callOf(caller, act, folder);
      if (call === undefined) continue;
      await repeat(callsToWarmUp, inFlight, call);
      const { times } = await repeat(callsAlone, 1, call);
      const { perSecond } = await repeat(callsTogether, inFlight, call);
      const together = name === "pipeline" || name === "pipeline_without_fsync" ? { budget: throughputBudget } : {};
      rows.push(
        {
          name: `${name}.${act}.p50`,
          value: quantile(times, 0.5),
          unit: "ms",
          ...(budgets && { budget: aloneBudgetMs }),
        },
        { name: `${name}.${act}.p99`, value: quantile(times, 0.99), unit: "ms" },
        { name: `${name}.${act}.calls_64_in_flight`, value: perSecond, unit: "per_s", ...together },
      );
      say(
        `bench: ${name}: ${act} ${quantile(times, 0.5).toFixed(3)} ms alone, ${Math.round(perSecond)} calls/s with ${inFlight} in flight`,
      );
    }
    if (long) rows.push(...(await verification(caller)));
    return rows;
  } finally {
    await caller.close();
  }
}

/** One call of an act; undefined when the caller has none. */
function callOf(caller: Caller, act: Act, folder: string): ((at: number) => Promise<void>) | undefined {
  const files = join(folder, "files");
  mkdirSync(files, { recursive: true });
  const content = "x".repeat(1024);
  writeFileSync(join(files, "read"), content);
  if (act === "monitor.cpu" && !caller.acts.includes(act)) return undefined;
  if (act === "fs.read") return () => caller.call("fs.read", { path: join(files, "read") });
  // Each its own file: what is measured is the pipeline, not its lock on one path.
  if (act === "fs.write") return (at) => caller.call("fs.write", { path: join(files, `w${at % 256}`), content });
  return () => caller.call("monitor.cpu", {});
}

async function verification({ verify }: Caller): Promise<Measure[]> {
  if (verify === undefined) return [];
  const { entries, ms } = await verify();
  return [
    { name: "ledger.entries", value: entries, unit: "count" },
    { name: "ledger.verification", value: (entries / ms) * 1_000, unit: "per_s", budget: verificationBudget },
  ];
}

/** The median time of an fdatasync after a write of 4 KiB, milliseconds. */
function fsyncTime(folder: string): number {
  const path = join(folder, "fsync");
  const file = openSync(path, "w");
  const page = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 100 }, () => {
    const from = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - from;
  });
  closeSync(file);
  rmSync(path);
  return quantile(
    times.sort((a, b) => a - b),
    0.5,
  );
}
