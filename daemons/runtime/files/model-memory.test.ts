import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { machineMemory, reserveBytes } from "../machine/machine-memory.ts";
import type { ModelHeader } from "./gguf.ts";
import { hostBytes, layersThatFit, memoryNeed } from "./model-memory.ts";

/** The shape of a llama-architecture model with heads of 64 numbers. */
function header(
  shape: { layers: number; embedding: number; keyHeads: number; feedForward: number; vocabulary: number },
  bytes: { tensorBytes: number; repackedBytes: number; layerBytes: number },
): ModelHeader {
  const { embedding } = shape;
  const heads = embedding / 64;
  return {
    ...{ architecture: "llama", name: "x", parameters: 1e8, contextTokens: 4096, chatTemplate: "" },
    ...{ generates: true, separatorToken: undefined },
    sizeBytes: bytes.tensorBytes,
    shape: { ...shape, ...bytes, heads, keyLength: 64, valueLength: 64 },
  };
}

const q4 = header(
  { layers: 16, embedding: 768, keyHeads: 4, feedForward: 2048, vocabulary: 32_000 },
  { tensorBytes: 84e6, repackedBytes: 84e6, layerBytes: 57e6 },
);
const q8 = header(
  { layers: 8, embedding: 512, keyHeads: 8, feedForward: 1376, vocabulary: 8_000 },
  { tensorBytes: 36e6, repackedBytes: 0, layerBytes: 27e6 },
);
const f16 = header(
  { layers: 8, embedding: 512, keyHeads: 2, feedForward: 1376, vocabulary: 2_000 },
  { tensorBytes: 48e6, repackedBytes: 0, layerBytes: 44e6 },
);

describe("the memory that a model needs", () => {
  // What a process of Node (70 MB) grew by, measured with llama.cpp b-3.22.1's addon after one batch of 512 tokens.
  it.each([
    ["Q4_0, four sequences", q4, { contextTokens: 4096, sequences: 4 }, 70e6 + 371e6],
    ["Q8_0, four sequences", q8, { contextTokens: 2048, sequences: 4 }, 70e6 + 148e6],
    ["F16, one sequence", f16, { contextTokens: 2048, sequences: 1 }, 70e6 + 18e6],
  ])("is what llama.cpp was seen to take: %s", (_, model, sizes, seen) => {
    const { ownBytes, mappedBytes, gpuBytes } = memoryNeed(model, { ...sizes, batchTokens: 512, gpuLayers: 0 });
    expect(ownBytes).toBeGreaterThan(seen);
    expect(ownBytes).toBeLessThan(seen * 1.25);
    expect([mappedBytes, gpuBytes]).toEqual([model.shape.tensorBytes, 0]);
  });

  it("moves to the GPU layer by layer", () => {
    const sizes = { contextTokens: 4096, sequences: 4, batchTokens: 512 };
    const needs = Array.from({ length: 18 }, (_, gpuLayers) => memoryNeed(q4, { ...sizes, gpuLayers }));
    for (const [at, need] of needs.entries()) {
      const before = needs[at - 1];
      if (before === undefined) continue;
      expect(need.gpuBytes).toBeGreaterThan(before.gpuBytes);
      expect(hostBytes(need)).toBeLessThan(hostBytes(before));
    }
    expect(layersThatFit(q4, sizes, 10e9)).toBe(17);
    expect(layersThatFit(q4, sizes, needs[9]?.gpuBytes ?? 0)).toBe(9);
    expect(layersThatFit(q4, sizes, 1e6)).toBe(0);
  });
});

describe("the machine's memory", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync("/tmp/aios-memory-");
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const read = () => machineMemory({ proc: join(root, "proc"), cgroups: join(root, "cgroups") });

  it("is that of the machine, or of the tightest group around this process", () => {
    put("proc/meminfo", "MemTotal:        8000000 kB\nMemFree:         100000 kB\nMemAvailable:    6000000 kB\n");
    put("proc/self/cgroup", "0::/aios/runtime\n");
    expect(read()).toEqual({ totalBytes: 8_192_000_000, availableBytes: 6_144_000_000 });
    put("cgroups/aios/memory.max", "max\n");
    put("cgroups/aios/runtime/memory.max", "2000000000\n");
    put("cgroups/aios/runtime/memory.current", "1500000000\n");
    put("cgroups/aios/runtime/memory.stat", "anon 100\ninactive_file 300000000\nactive_file 200000000\n");
    expect(read()).toEqual({ totalBytes: 2_000_000_000, availableBytes: 1_000_000_000 });
  });

  it("is left a reserve that suits its size", () => {
    const reserve = (totalBytes: number) => reserveBytes({ totalBytes, availableBytes: 0 });
    expect([5e8, 8e9, 2e11].map(reserve)).toEqual([64e6, 4e8, 1e9]);
  });
});
