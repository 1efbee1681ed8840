import { afterEach, beforeEach, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { service } from "#lib/rpc/service";
import { HealthStatus } from "#proto/aios/common";
import { AIRuntimeService, ModelEntry, ModelStatus, ModelVerdict, PullProgress } from "#proto/aios/runtime";
import { init, openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
let asked: unknown[];

const tiny = ModelStatus.fromPartial({
  ...{ modelName: "tiny", status: "ready", level: "operational", backend: "cpu", threads: 2, sequences: 4 },
  ...{ contextTokens: 2048, memoryBytes: 900_000_000, requestCount: 3, entry: { sizeBytes: 700_000_000 } },
});
const big = ModelStatus.fromPartial({
  ...{ modelName: "big", status: "error: load model big: it is not a model", level: "tactical" },
  entry: { file: "big.Q4.gguf", role: "tactical" },
});

beforeEach(async () => {
  twin = openTwin();
  asked = [];
  await twin.daemon("init", init());
  await twin.daemon(
    "runtime",
    service(AIRuntimeService, {
      listModels: () => ({ models: [tiny, big] }),
      healthCheck: () => HealthStatus.fromPartial({ details: { gpu: "vulkan: Radeon" } }),
      async *pullModel({ modelName }) {
        if (modelName !== "big")
          throw new AiosError("FAILED_PRECONDITION", `pull model ${modelName}: its entry has no address`);
        yield PullProgress.fromPartial({ state: "downloading", doneBytes: 1e9, totalBytes: 4e9, resumedBytes: 1e9 });
        yield PullProgress.fromPartial({ state: "done", doneBytes: 4e9, totalBytes: 4e9, path: "/models/big.gguf" });
      },
      async *verifyModels(request) {
        asked.push(request);
        yield ModelVerdict.fromPartial({ modelName: "tiny", state: "good" });
        if (request.readAgain)
          yield ModelVerdict.fromPartial({ modelName: "big", state: "bad", reason: "its SHA-256 is 1" });
      },
      addModel: (entry) => {
        asked.push(entry);
        return entry;
      },
      removeModel: (request) => {
        asked.push(request);
        return { freedBytes: 4e9 };
      },
      loadModel: (request) => {
        asked.push(request);
        return { ...tiny, modelName: "big", loadMs: 2_100, gpuLayers: 33, backend: "vulkan", device: "Radeon" };
      },
      unloadModel: () => ({ success: true, message: "big is not loaded" }),
    }),
  );
});
afterEach(() => twin.close());

it("lists what each model runs on, what is wrong with one, and the GPU", async () => {
  const { code, out } = await twin.aiosctl("models");
  expect(code).toBe(0);
  expect(out).toMatch(/tiny +operational +ready +700 MB +2 threads, 4 x 2048 tokens +900 MB/);
  expect(out).toMatch(/big +tactical +error +-/);
  expect(out).toMatch("big: load model big: it is not a model");
  expect(out).toMatch("GPU vulkan: Radeon");
  expect(JSON.parse((await twin.aiosctl("models", "list", "--json")).out)).toMatchObject({
    models: [{ modelName: "tiny" }, {}],
  });
});

it("tells how far a pull is, and why there is none", async () => {
  const { code, out, error } = await twin.aiosctl("models", "pull", "big");
  expect(code).toBe(0);
  expect(error).toBe("going on after 1.0 GB\ndownloading: 1.0 GB of 4.0 GB (25 %)\n");
  expect(out).toBe("big: 4.0 GB, SHA-256 as expected, in /models/big.gguf\n");
  const lines = (await twin.aiosctl("models", "pull", "big", "--json")).out.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).state)).toEqual(["downloading", "done"]);
  expect(await twin.aiosctl("models", "pull", "none")).toMatchObject({
    code: 1,
    error: expect.stringContaining("no address"),
  });
});

it("verifies, and fails when a model is bad", async () => {
  expect(await twin.aiosctl("models", "verify")).toEqual({
    code: 0,
    out: "tiny: good, as the manifest says\n",
    error: "",
  });
  expect(await twin.aiosctl("models", "verify", "big", "--again")).toMatchObject({
    code: 1,
    out: expect.stringContaining("big: bad: its SHA-256 is 1"),
  });
  expect(asked).toMatchObject([
    { modelName: "", readAgain: false },
    { modelName: "big", readAgain: true },
  ]);
});

it("adds, keeping the file name that the configuration knows, and removes", async () => {
  const line = [
    "models",
    "add",
    "big",
    "--url",
    "https://host/other.gguf",
    "--sha256",
    "AB".repeat(32),
    "--role",
    "tactical",
  ];
  expect(await twin.aiosctl(...line)).toMatchObject({
    code: 0,
    out: expect.stringContaining('"aiosctl models pull big" fetches it'),
  });
  expect(asked[0]).toEqual(
    ModelEntry.fromPartial({
      ...{
        name: "big",
        file: "big.Q4.gguf",
        url: "https://host/other.gguf",
        sha256: "ab".repeat(32),
        role: "tactical",
      },
      gpuLayers: -1,
    }),
  );
  expect(await twin.aiosctl(...line, "--role", "boss")).toMatchObject({
    code: 2,
    error: expect.stringContaining("--role boss"),
  });
  expect((await twin.aiosctl("models", "remove", "big", "--keep-file")).out).toBe("big is removed, 4.0 GB freed\n");
  expect(asked[1]).toEqual({ modelName: "big", keepFile: true });
});

it("loads as asked, and unloads", async () => {
  const { out } = await twin.aiosctl("models", "load", "big", "--context", "512", "--gpu-layers", "33");
  expect(out).toBe("big is ready after 2.1 s: vulkan (Radeon), 33 layers, 4 x 2048 tokens\n");
  expect(asked[0]).toMatchObject({ modelName: "big", contextLength: 512, gpuLayers: 33, threads: 0 });
  expect((await twin.aiosctl("models", "unload", "big")).out).toBe("big is not loaded\n");
});
