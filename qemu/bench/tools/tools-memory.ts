import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quantile, repeat } from "../repeat.ts";
import type { Measure } from "../row.ts";
import { type Caller, startTools } from "./tools-callers.ts";

const inFlight = 64;
const samples = 20;

/** How much the daemon's memory may grow over the second half of the calls: caches and the collector's heap are full by then. */
const growthBudgetMb = 32;

/** How long a call may take beside the verification of the whole ledger. */
const besideBudgetMs = 50;

/** N of `--calls N`; undefined without it. Throws when there is no number behind it. */
export function callsWanted(words: readonly string[]): number | undefined {
  const at = words.indexOf("--calls");
  if (at < 0) return undefined;
  const calls = Number(words[at + 1]);
  if (!Number.isInteger(calls) || calls < 1_000)
    throw new Error("bench tools: --calls wants a number of at least 1000");
  return calls;
}

/**
 * The memory of the daemon over so many calls (reads, writes and processor use by turns, 64 in flight, everything in memory so
 * that no disk slows it down), then a call now and then while the whole ledger is verified.
 */
export async function memoryBench(
  repository: string,
  calls: number,
  say: (line: string) => void,
): Promise<readonly Measure[]> {
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "aios-bench-tools-"));
  try {
    const caller = await startTools(repository, folder);
    try {
      const { pid = 0 } = caller;
      const call = callsOf(caller, folder);
      const seen: number[] = [];
      const started = performance.now();
      for (let sample = 1; sample <= samples; sample += 1) {
        const { perSecond } = await repeat(Math.ceil(calls / samples), inFlight, call);
        seen.push(residentMb(pid));
        const done = Math.ceil((calls / samples) * sample);
        say(`bench: ${done} calls: ${seen.at(-1)?.toFixed(1)} MB resident, ${Math.round(perSecond)} calls/s`);
      }
      const seconds = (performance.now() - started) / 1_000;
      const half = seen.slice(samples / 2);
      return [
        { name: "memory.calls", value: calls, unit: "count" },
        { name: "memory.calls_64_in_flight", value: calls / seconds, unit: "per_s" },
        { name: "memory.resident_at_half", value: half[0] ?? 0, unit: "MB" },
        { name: "memory.resident_at_end", value: half.at(-1) ?? 0, unit: "MB" },
        { name: "memory.resident_most", value: Math.max(...seen), unit: "MB" },
        { name: "memory.trend_over_second_half", value: trend(half), unit: "MB", budget: growthBudgetMb },
        ...(await besideVerification(caller)),
      ];
    } finally {
      await caller.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The calls by turns: reading a file, writing one of 256, asking for processor use. */
function callsOf(caller: Caller, folder: string): (at: number) => Promise<void> {
  const files = join(folder, "files");
  mkdirSync(files);
  const content = "x".repeat(1024);
  const path = join(files, "read");
  writeFileSync(path, content);
  const acts = [
    () => caller.call("fs.read", { path }),
    (at: number) => caller.call("fs.write", { path: join(files, `w${at % 256}`), content }),
    () => caller.call("monitor.cpu", {}),
  ] as const;
  return (at) => (acts[at % 3] ?? acts[0])(at);
}

/** How long calls take, one after the other, while the whole ledger is verified. */
async function besideVerification(caller: Caller): Promise<Measure[]> {
  if (caller.verify === undefined) return [];
  let over = false;
  const verifying = caller.verify().finally(() => {
    over = true;
  });
  const times: number[] = [];
  while (!over) times.push(...(await repeat(1, 1, () => caller.call("monitor.cpu", {}))).times);
  const { entries, ms } = await verifying;
  times.sort((a, b) => a - b);
  return [
    { name: "ledger.entries", value: entries, unit: "count" },
    { name: "ledger.verification_beside_calls", value: (entries / ms) * 1_000, unit: "per_s" },
    { name: "ledger.call_beside_verification.p50", value: quantile(times, 0.5), unit: "ms" },
    {
      name: "ledger.call_beside_verification.p99",
      value: quantile(times, 0.99),
      unit: "ms",
      budget: besideBudgetMs,
    },
  ];
}

/** By how much the line through the values, by least squares, rises from the first to the last. */
export function trend(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const rise = values.reduce((sum, value, at) => sum + (at - middle) * (value - mean), 0);
  const run = values.reduce((sum, _, at) => sum + (at - middle) ** 2, 0);
  return (rise / run) * (values.length - 1);
}

function residentMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kib) * 1024) / 1_000_000;
}
