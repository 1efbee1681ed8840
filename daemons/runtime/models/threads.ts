import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { dirname } from "node:path";
import { replaceFile } from "#lib/data/files";
import type { ModelHeader } from "../files/index.ts";

/** Below this many parameters a token takes less time than handing work to a second thread: measured, and not again. */
const oneThreadParameters = 14_000_000;

/** Below this many one thread is the better guess until it has been measured. */
const oneThreadGuessParameters = 50_000_000;

/** Models remembered; the oldest are forgotten. */
const rememberedMax = 100;

/** A smaller number of threads is taken when it is this close to the fastest: the machine has other things to do. */
const closeEnough = 1.05;

/** Threads for models, as measured on this machine. */
export interface Threads {
  /** The number to begin with, and the most the model can use: the same once it was measured. */
  for(header: ModelHeader): { first: number; most: number };
  /** Numbers of threads worth measuring; none when the answer is known. */
  toMeasure(header: ModelHeader): number[];
  /** Remembers the best of what was measured: milliseconds per token by threads. Returns it. */
  learn(header: ModelHeader, msPerToken: ReadonlyMap<number, number>): number;
}

/** Threads remembered in `file`, for a machine with `cores` real cores of the kind `processor`. */
export function openThreads(file: string, cores: number, processor: string): Threads {
  let remembered: Map<string, number> | undefined;
  const load = () => {
    remembered ??= new Map(read(file));
    return remembered;
  };
  // Speed depends on a model's shape and weights' format, not on what it has learnt.
  const key = ({ architecture, parameters, sizeBytes }: ModelHeader) =>
    [processor, cores, architecture, parameters, sizeBytes].join("|");
  const knownThreads = (header: ModelHeader) => {
    if (cores === 1 || header.parameters < oneThreadParameters) return 1;
    const threads = load().get(key(header));
    return threads === undefined ? undefined : Math.min(threads, cores);
  };

  return {
    for(header) {
      const threads = knownThreads(header) ?? (header.parameters < oneThreadGuessParameters ? 1 : cores);
      return { first: threads, most: threads };
    },
    toMeasure: (header) => (knownThreads(header) === undefined ? choices(cores) : []),
    learn(header, msPerToken) {
      const fastest = Math.min(...msPerToken.values());
      const good = [...msPerToken].filter(([, ms]) => ms <= fastest * closeEnough).map(([threads]) => threads);
      const best = Math.min(...good);
      const entries = load();
      entries.delete(key(header));
      entries.set(key(header), best);
      for (const oldest of [...entries.keys()].slice(0, Math.max(0, entries.size - rememberedMax)))
        entries.delete(oldest);
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      replaceFile(file, `${JSON.stringify([...entries])}\n`, 0o600);
      return best;
    },
  };
}

/** 1, 2, 4, … and the numbers up to 8, and all cores. */
function choices(cores: number): number[] {
  const all = Array.from({ length: cores }, (_, at) => at + 1);
  return all.filter((threads) => threads <= 8 || (threads & (threads - 1)) === 0 || threads === cores);
}

function read(file: string): [string, number][] {
  if (!existsSync(file)) return [];
  try {
    const entries: unknown = JSON.parse(readFileSync(file, "utf8"));
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(entry: unknown): entry is [string, number] {
  if (!Array.isArray(entry)) return false;
  const [key, threads] = entry as unknown[];
  return typeof key === "string" && Number.isInteger(threads) && (threads as number) >= 1;
}

/**
 * Cores that do arithmetic and that this process may use: two hyper-threads of one core count once. Where the kernel does
 * not say which belong together, each counts.
 */
export function realCores(sys = "/sys", allowed = availableParallelism()): number {
  const folder = `${sys}/devices/system/cpu`;
  const siblings = names(folder)
    .filter((name) => /^cpu\d+$/.test(name))
    .map(
      (name) =>
        text(`${folder}/${name}/topology/core_cpus_list`) || text(`${folder}/${name}/topology/thread_siblings_list`),
    );
  const cores = new Set(siblings.filter((list) => list !== "")).size;
  return Math.max(1, Math.min(cores || allowed, allowed));
}

/** The processor's name, as far as it tells how fast it is. */
export function processorName(): string {
  return cpus()[0]?.model ?? "unknown";
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
