import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { readModelHeader } from "./gguf.ts";
import { tensorTypes } from "./gguf-tensors.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
let folder: string;
let whole: Buffer;
let path: string;

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-gguf-");
  path = join(folder, "model.gguf");
  execFileSync(process.execPath, [here("../../../image/model/write.ts"), path]);
  whole = readFileSync(path);
});
afterAll(() => rmSync(folder, { recursive: true }));

it("reads what a model says of itself", () => {
  writeFileSync(path, whole);
  expect(readModelHeader(path)).toMatchObject({
    architecture: "llama",
    name: "aios-bringup",
    contextTokens: 1024,
    parameters: 139_584,
    sizeBytes: whole.length,
    chatTemplate: expect.stringContaining("<|im_start|>"),
  });
});

it("finds each truncation", () => {
  const lengths = [
    0,
    3,
    4,
    12,
    23,
    24,
    100,
    1_000,
    10_000,
    20_000,
    whole.length / 2,
    whole.length - 32,
    whole.length - 1,
  ];
  writeFileSync(path, whole);
  for (const length of lengths.reverse()) {
    truncateSync(path, Math.floor(length));
    expect(() => readModelHeader(path), `${length} bytes`).toThrow(/truncated|not a GGUF/);
  }
});

it("answers any byte of the header changed with a header or a clear error, never otherwise", () => {
  const headerLength = whole.indexOf("output.weight") + 64;
  let refused = 0;
  for (let at = 0; at < headerLength; at += 7) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    writeFileSync(path, bytes);
    try {
      readModelHeader(path);
    } catch (error) {
      refused++;
      expect(error).toBeInstanceOf(AiosError);
      expect((error as AiosError).message).toMatch(/^load model .*model\.gguf: .*; put a whole GGUF/);
    }
  }
  expect(refused).toBeGreaterThan(100);
});

it("says of numbers in the other order, and of layers that llama.cpp cannot hold, what they are", () => {
  const layersAt = whole.indexOf("llama.block_count") + "llama.block_count".length + 4;
  const told = (write: (file: Buffer) => void) => {
    const changed = Buffer.from(whole);
    write(changed);
    writeFileSync(path, changed);
    return () => readModelHeader(path);
  };
  expect(told((file) => file.writeUInt32BE(3, 4))).toThrow("big-endian");
  for (const layers of [0, 513, 0xffff_ffff])
    expect(told((file) => file.writeUInt32LE(layers, layersAt))).toThrow(`"llama.block_count" is ${layers}`);
  expect(told((file) => file.writeUInt32LE(512, layersAt))).not.toThrow();
});

it("refuses counts that no file has without reading on", () => {
  for (const [at, what] of [
    [8, "tensors"],
    [16, "metadata entries"],
  ] as const) {
    const bytes = Buffer.from(whole);
    bytes.writeBigUInt64LE(2n ** 60n, at);
    writeFileSync(path, bytes);
    expect(() => readModelHeader(path)).toThrow(`1152921504606846976 ${what}`);
  }
});

it("knows the size of each tensor type as ggml does", () => {
  const addon = here("../../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/llama-addon.node");
  const binding = createRequire(import.meta.url)(addon);
  for (const [type, [numbers, bytes]] of Object.entries(tensorTypes)) {
    expect([binding.getBlockSizeForGgmlType(Number(type)), binding.getTypeSizeForGgmlType(Number(type))], type).toEqual(
      [numbers, bytes],
    );
  }
});
