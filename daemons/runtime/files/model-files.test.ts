import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { compiled } from "#lib/testing/compiled";
import { startWorker } from "../between/worker-process.ts";
import { openCatalogue } from "./catalogue.ts";
import { readModelHeader } from "./gguf.ts";
import { modelFiles, modelSize } from "./model-files.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
const put = (file: string, bytes: string | Buffer = "x") => {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), bytes);
};
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-model-files-");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("models' files as people have them", () => {
  it("have names of their own", () => {
    for (const file of [
      "model (1).gguf",
      "X.GGUF",
      "model-1.gguf",
      "unsloth/Qwen3 8B/q4.gguf",
      "other/q4.gguf",
      "ü.gguf",
    ])
      put(file);
    put(".partial/half.gguf");
    put("models.toml");
    const { models, leftOut } = modelFiles(folder);
    expect(models).toEqual([
      { file: "X.GGUF", name: "X" },
      { file: "model (1).gguf", name: "model-1" },
      { file: "model-1.gguf", name: "model-1-2" },
      { file: "other/q4.gguf", name: "q4" },
      { file: "unsloth/Qwen3 8B/q4.gguf", name: "unsloth-Qwen3-8B-q4" },
    ]);
    expect(leftOut).toEqual([expect.stringMatching(/^ü\.gguf: nothing in its name/)]);
  });

  it("are found by what they are called, in all of these ways", () => {
    put("sub/model (1).gguf");
    const places = { folder, imageFolders: [], imageManifest: join(folder, "none.toml") };
    const catalogue = openCatalogue(places);
    for (const name of ["model-1", "sub/model (1).gguf", "model (1).gguf", "model (1)"])
      expect(catalogue.find(name), name).toMatchObject({ origin: "file", path: join(folder, "sub/model (1).gguf") });
  });

  it("that are left out are told with the reason", () => {
    put("a/b/c/d/deep.gguf");
    put("weights.safetensors");
    symlinkSync("/nowhere", join(folder, "gone.gguf"));
    mkdirSync(join(folder, "folder.gguf"));
    put("x-00001-of-00003.gguf");
    put("x-00003-of-00003.gguf");
    put("y-00002-of-00002.gguf");
    expect(modelFiles(folder)).toEqual({
      models: [],
      leftOut: expect.arrayContaining([
        "a/b/c/d: folders are looked into 3 deep; move it up",
        "weights.safetensors: not a GGUF file; convert it, or let its download end",
        "gone.gguf: it leads nowhere",
        "x-00001-of-00003.gguf: 1 of its 3 parts missing, the first is x-00002-of-00003.gguf",
        "y-00002-of-00002.gguf: part 1 of 2 is missing",
      ]),
    });
  });
});

describe("a folder of models", () => {
  const leftOut = () => modelFiles(folder).leftOut;

  it("is looked into though something in it cannot be", () => {
    put("x.gguf");
    mkdirSync(join(folder, "shut"));
    symlinkSync("loop.gguf", join(folder, "loop.gguf"));
    symlinkSync(join(folder, "x.gguf/y.gguf"), join(folder, "in-a-file.gguf"));
    const looked = `import { modelFiles } from ${JSON.stringify(here("model-files.ts"))}; console.log(JSON.stringify(modelFiles(${JSON.stringify(folder)})));`;
    put("shut/y.gguf");
    symlinkSync(join(folder, "shut/y.gguf"), join(folder, "into-shut.gguf"));
    chmodSync(join(folder, "shut"), 0o700);
    chownSync(join(folder, "shut"), 65_534, 65_534);
    // By a process that may not read what is another's.
    const argv = ["--bounding-set", "-dac_override,-dac_read_search", process.execPath];
    const found = JSON.parse(
      execFileSync("setpriv", [...argv, "--input-type=module", "-e", looked], { encoding: "utf8" }),
    );
    expect(found).toEqual({
      models: [{ file: "x.gguf", name: "x" }],
      leftOut: [
        "in-a-file.gguf: it leads nowhere",
        "into-shut.gguf: the runtime may not read it; chmod a+rX",
        "loop.gguf: it leads nowhere",
        "shut: the runtime may not read it; chmod a+rX",
      ],
    });
  });

  it("is looked into once, whatever leads back to it", () => {
    put("sub/x.gguf");
    symlinkSync(".", join(folder, "again"));
    symlinkSync("../sub", join(folder, "sub/itself"));
    expect(modelFiles(folder).models).toEqual([{ file: "sub/x.gguf", name: "x" }]);
    expect(leftOut().map((line) => line.split(":")[0])).toEqual(["again", "sub/itself"]);
  });

  it("leaves a file its name when another of that name comes further down", () => {
    put("x.gguf");
    put("a/x.gguf");
    expect(modelFiles(folder).models).toEqual([
      { file: "x.gguf", name: "x" },
      { file: "a/x.gguf", name: "a-x" },
    ]);
  });

  it("holds parts that are none of a file's", () => {
    for (const part of ["x-00000-of-00001", "x-00001-of-00001", "x-00002-of-00001", "y-00001-of-00000"])
      put(`${part}.gguf`);
    put("Z-00001-OF-00001.GGUF");
    expect(modelFiles(folder).models).toEqual([{ file: "x-00001-of-00001.gguf", name: "x" }]);
    expect(leftOut()).toEqual([
      expect.stringMatching(/^Z-00001-OF-00001\.GGUF: the parts of a split file are found by small letters/),
      "x-00000-of-00001.gguf: there is no part 0 of 1",
      "x-00002-of-00001.gguf: there is no part 2 of 1",
      "y-00001-of-00000.gguf: there is no part 1 of 0",
    ]);
  });
});

describe("a split file", () => {
  const uint = (value: number, bytes: 4 | 8) => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUInt32LE(value);
    return buffer;
  };
  const text = (value: string) => Buffer.concat([uint(Buffer.byteLength(value), 8), Buffer.from(value)]);
  const uint16 = (key: string, value: number) =>
    Buffer.concat([text(key), uint(2, 4), Buffer.of(value & 0xff, value >> 8)]);
  const padded = (...parts: Buffer[]) => {
    const header = Buffer.concat(parts);
    return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32)]);
  };

  /** The bring-up model in two parts, as gguf-split makes them: what it says of itself, and its tensors. */
  const split = () => {
    const path = join(folder, "whole.bin");
    execFileSync(process.execPath, [here("../../../image/model/write.ts"), path]);
    const whole = readFileSync(path);
    const [tensors, entries] = [Number(whole.readBigUInt64LE(8)), Number(whole.readBigUInt64LE(16))];
    const infos = whole.indexOf(text("token_embd.weight"));
    const end = whole.lastIndexOf(text("output.weight")) + 8 + 13 + 4 + 16 + 4 + 8;
    const marks = (number: number) => [
      uint16("split.no", number),
      uint16("split.count", 2),
      Buffer.concat([text("split.tensors.count"), uint(5, 4), uint(tensors, 4)]),
    ];
    const head = (count: number, more: number) => Buffer.concat([whole.subarray(0, 8), uint(count, 8), uint(more, 8)]);
    put("x y-00001-of-00002.gguf", padded(head(0, entries + 3), ...marks(0), whole.subarray(24, infos)));
    const data = whole.subarray(Math.ceil(end / 32) * 32);
    const second = padded(head(tensors, 3), ...marks(1), whole.subarray(infos, end));
    put("x y-00002-of-00002.gguf", Buffer.concat([second, data]));
    return { path, first: join(folder, "x y-00001-of-00002.gguf") };
  };

  it("is one model of the whole size, which llama.cpp loads", async () => {
    const { path, first } = split();
    expect(modelFiles(folder).models).toEqual([{ file: "x y-00001-of-00002.gguf", name: "x-y" }]);
    const [whole, parts] = [readModelHeader(path), readModelHeader(first)];
    expect(parts).toEqual({ ...whole, sizeBytes: modelSize(first) });
    expect(parts.sizeBytes).toBeGreaterThan(whole.sizeBytes);
    const catalogue = openCatalogue({ folder, imageFolders: [], imageManifest: join(folder, "none.toml") });
    for (const name of ["x-y", "x y-00001-of-00002.gguf"]) expect(catalogue.find(name)?.path, name).toBe(first);
    const start = () =>
      spawn(process.execPath, [here("../worker/worker.ts")], {
        stdio: ["ignore", "ignore", "ignore", "ipc"],
        env: { ...compiled, UV_THREADPOOL_SIZE: "1" },
      });
    const worker = startWorker(start, "split", systemClock, silentLog);
    const loaded = await worker.load({
      ...{ model: "split", modelPath: first, kind: "generation", backend: "cpu", gpuLayers: 0, chatTemplate: "" },
      bindingFolder: here("../../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"),
      ...{ contextTokens: 128, sequences: 1, batchTokens: 64, threads: 1 },
    });
    expect(loaded.parameters).toBe(whole.parameters);
    worker.stop();
    await worker.ended;
  });

  it("names the part that is missing", () => {
    const { first } = split();
    rmSync(join(folder, "x y-00002-of-00002.gguf"));
    expect(() => readModelHeader(first)).toThrow(/x y-00002-of-00002\.gguf/);
    expect(modelFiles(folder)).toEqual({
      models: [],
      leftOut: ["x y-00001-of-00002.gguf: 1 of its 2 parts missing, the first is x y-00002-of-00002.gguf"],
    });
  });
});
