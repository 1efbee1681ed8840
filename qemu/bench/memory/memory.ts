import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryProgram } from "../../memory-daemon.ts";
import type { Bench, BenchHost } from "../bench.ts";
import type { Measure } from "../row.ts";
import { idlePart } from "./memory-idle.ts";
import { journalPart } from "./memory-journal.ts";
import { searchPart } from "./memory-search.ts";
import { startPart } from "./memory-start.ts";
import { storePart } from "./memory-store.ts";
import type { Part } from "./part.ts";

const parts: Readonly<Record<string, Part>> = {
  store: storePart,
  journal: journalPart,
  start: startPart,
  search: searchPart,
  idle: idlePart,
};

/**
 * The memory daemon as it ships, in all its tiers or in those that are named, each figure beside the same by the bare library
 * in the same run.
 */
export const memoryBench: Bench = (host) =>
  measured((host.words.length > 0 ? host.words : Object.keys(parts)).map(partCalled), host);

async function measured(some: readonly Part[], host: BenchHost): Promise<readonly Measure[]> {
  const root = mkdtempSync(join(tmpdir(), "aios-bench-memory-"));
  try {
    const program = await memoryProgram(host.repository, join(root, "program"));
    const folder = (name: string) => mkdtempSync(join(root, `${name}-`));
    const measures: Measure[] = [];
    for (const part of some) measures.push(...(await part({ ...host, program, folder })));
    return measures;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function partCalled(name: string): Part {
  const part = parts[name];
  if (part !== undefined) return part;
  throw new Error(`bench memory ${name}: no such part; there are ${Object.keys(parts).join(", ")}`);
}
