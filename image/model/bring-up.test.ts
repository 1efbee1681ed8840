import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bringUpShape, writeBringUpModel } from "./bring-up.ts";
import { writeGguf } from "./gguf.ts";
import { learnTokenizer } from "./tokenizer.ts";

const folder = mkdtempSync("/tmp/aios-model-");
const path = join(folder, "model.gguf");
const bins = fileURLToPath(new URL("../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64", import.meta.url));

beforeAll(() => writeBringUpModel(path));
afterAll(() => rmSync(folder, { recursive: true }));

it("has the same bytes each time and is small", () => {
  writeBringUpModel(join(folder, "again.gguf"));
  expect(readFileSync(join(folder, "again.gguf")).equals(readFileSync(path))).toBe(true);
  expect(statSync(path).size).toBeLessThan(1_000_000);
});

it("loads in llama.cpp, which reads its text back as it was written", async () => {
  const llama = createRequire(import.meta.url)(join(bins, "llama-addon.node"));
  llama.setLoggerLogLevel(0);
  llama.loadBackends(bins);
  await llama.init();
  const model = new llama.AddonModel(path, { addonExports: llama, gpuLayers: 0, useMmap: false, checkTensors: true });
  expect(await model.init()).toBe(true);
  expect(model.getTrainContextSize()).toBe(bringUpShape.context);
  expect(model.isEogToken(model.tokenEos())).toBe(true);
  const text = 'The disk is in use: {"tool": "fs.write"} – 数字 🙂';
  const tokens: Uint32Array = model.tokenize(text, false);
  expect(model.detokenize(tokens, false)).toBe(text);
  expect(tokens.length).toBeLessThan(Buffer.byteLength(text) * 0.8);
  expect([...model.tokenize("<|im_end|>", true)]).toEqual([model.tokenEos()]);
  await model.dispose();
});

it("learns merges whose parts exist before them", () => {
  const { tokens, merges } = learnTokenizer(100);
  merges.forEach((merge, at) => {
    const known = tokens.slice(0, 256 + at);
    for (const part of merge.split(" ")) expect(known).toContain(part);
    expect(tokens[256 + at]).toBe(merge.replace(" ", ""));
  });
});

it("refuses a tensor whose data does not fill its shape", () => {
  const tensor = { name: "short", shape: [4], encoding: "f32", data: () => new Uint8Array(15) } as const;
  expect(() => writeGguf(join(folder, "bad.gguf"), {}, [tensor])).toThrow("15 bytes where its shape needs 16");
});
