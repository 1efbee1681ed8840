import { existsSync, mkdirSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Shape, writeLlamaModel } from "../../../image/model/llama.ts";

/** 150 million parameters: what a small language model of today is like, but for what it says. */
const shape: Shape = {
  layers: 16,
  embedding: 768,
  heads: 12,
  keyHeads: 4,
  feedForward: 2048,
  context: 4096,
  merges: 253,
  vocabulary: 32_000,
  weights: "q4_0",
};

const benchModel = { name: "bench-150m", parameters: 150_000_000 } as const;

/**
 * A model to measure with: llama's architecture, random weights, which speed does not depend on. Kept in the cache, where it
 * is never needed: it takes seconds to write. Returns its path.
 */
export function benchModelFile(cache: string, say: (line: string) => void): string {
  const path = join(cache, "bench", `${benchModel.name}-q4_0.gguf`);
  if (existsSync(path)) return path;
  const started = performance.now();
  mkdirSync(dirname(path), { recursive: true });
  writeLlamaModel(`${path}.part`, shape, { name: benchModel.name, description: "Random weights, for measuring." });
  renameSync(`${path}.part`, path);
  say(`bench: wrote ${path}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return path;
}
