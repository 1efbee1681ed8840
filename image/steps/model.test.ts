import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readManifest } from "#lib/model-manifest";
import type { StepWork } from "../step.ts";
import { gpuInputs } from "./gpu.ts";
import { modelStep, readBuilderModels } from "./model.ts";

const repository = resolve(import.meta.dirname, "../..");
const content = Buffer.alloc(3_000_000, "model");
const sha256 = createHash("sha256").update(content).digest("hex");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-model-step-");
  writeFileSync(join(folder, "mine.gguf"), content);
});
afterEach(() => rmSync(folder, { recursive: true }));

const manifest = (text: string) => {
  writeFileSync(join(folder, "models.toml"), text);
  return join(folder, "models.toml");
};

async function build(path: string): Promise<string> {
  const out = join(folder, "out");
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  const log = { line() {} } as unknown as StepWork["log"];
  await modelStep(readBuilderModels(path)).run({ repository, out, log, need: () => "" });
  return out;
}

test("the image's own manifest is taken as it is when the builder adds nothing", async () => {
  const out = join(folder, "out");
  mkdirSync(out);
  const log = { line() {} } as unknown as StepWork["log"];
  await modelStep([]).run({ repository, out, log, need: () => "" });
  expect(readdirSync(join(out, "models"))).toEqual(["aios-bringup.gguf"]);
  const own = join(repository, "rootfs/usr/share/aios/models.toml");
  expect(readFileSync(join(out, "models.toml"), "utf8")).toBe(readFileSync(own, "utf8"));
});

test("a builder's file and address are carried, with their hashes in the manifest and no path of this host", async () => {
  const server = createServer((_, response) => void response.end(content));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf`;
  try {
    const out = await build(
      manifest(
        `[[model]]\nname = "mine"\npath = "${folder}/mine.gguf"\nrole = "embedding"\n\n[[model]]\nname = "tinyllama-1.1b"\nurl = "${url}"\nsha256 = "${sha256}"\n`,
      ),
    );
    for (const file of ["mine.gguf", "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"])
      expect(readFileSync(join(out, "models", file)).equals(content)).toBe(true);
    expect(readdirSync(out).sort()).toEqual(["models", "models.toml"]);
    const entries = readManifest(join(out, "models.toml"));
    expect(entries.find(({ name }) => name === "mine")).toMatchObject({ path: "", sha256, sizeBytes: content.length });
    expect(entries.find(({ name }) => name === "tinyllama-1.1b")).toMatchObject({ role: "operational", sha256, url });
    expect(entries.map(({ name }) => name)).toContain("mistral-7b");
  } finally {
    server.close();
  }
});

test("a changed file changes the step's inputs; one that is not what the manifest says is refused", () => {
  const path = manifest(`[[model]]\nname = "mine"\npath = "${folder}/mine.gguf"\n`);
  const before = JSON.stringify(modelStep(readBuilderModels(path)).params);
  writeFileSync(join(folder, "mine.gguf"), Buffer.concat([content, content]));
  expect(JSON.stringify(modelStep(readBuilderModels(path)).params)).not.toBe(before);
  const pinned = manifest(`[[model]]\nname = "mine"\npath = "${folder}/mine.gguf"\nsha256 = "${sha256}"\n`);
  expect(() => readBuilderModels(pinned)).toThrow(/its SHA-256 is .*, the manifest says/);
  expect(() => readBuilderModels(manifest('[[model]]\nname = "x"\nurl = "http://host/x.gguf"\n'))).toThrow(
    /neither a path nor/,
  );
  expect(() => readBuilderModels(join(folder, "none.toml"))).toThrow(/ENOENT/);
});

test("a folder for CUDA must hold the back end and the libraries; what it holds is an input", () => {
  expect(gpuInputs(true, undefined)).toEqual({ vulkan: true });
  expect(() => gpuInputs(true, folder)).toThrow(/it has no backend\/bins.*linux-x64-cuda/);
  mkdirSync(join(folder, "backend/bins/linux-x64-cuda"), { recursive: true });
  mkdirSync(join(folder, "libraries"));
  writeFileSync(join(folder, "backend/bins/linux-x64-cuda/llama-addon.node"), "");
  const before = gpuInputs(false, folder).cuda?.content;
  writeFileSync(join(folder, "libraries/libcudart.so.13"), "x");
  expect(gpuInputs(false, folder).cuda?.content).not.toBe(before);
  expect(existsSync(gpuInputs(false, folder).cuda?.folder ?? "")).toBe(true);
});
