import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryProgram } from "../memory-daemon.ts";
import type { Bench, BenchHost } from "./bench.ts";
import { idlePart } from "./memory-idle.ts";
import { journalPart } from "./memory-journal.ts";
import { startPart } from "./memory-start.ts";
import { storePart } from "./memory-store.ts";
import type { Measure } from "./row.ts";

/** What a part of the benchmark is given. */
export interface MemoryBenchHost extends BenchHost {
  /** The daemon's bundle, as it ships. */
  readonly program: string;
  /** A folder on the disk, empty. */
  folder(name: string): string;
}

/** One part: measures, and gives back what it measured. */
export type Part = (host: MemoryBenchHost) => Promise<readonly Measure[]>;

const parts: readonly Part[] = [storePart, journalPart, startPart, idlePart];

/** The memory daemon as it ships, in all its tiers, each figure beside the same by the bare library in the same run. */
export const memoryBench: Bench = async (host) => {
  const root = mkdtempSync(join(tmpdir(), "aios-bench-memory-"));
  try {
    const program = await memoryProgram(host.repository, join(root, "program"));
    const folder = (name: string) => mkdtempSync(join(root, `${name}-`));
    const measures: Measure[] = [];
    for (const part of parts) measures.push(...(await part({ ...host, program, folder })));
    return measures;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
};
