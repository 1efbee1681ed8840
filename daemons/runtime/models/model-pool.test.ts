import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { PooledWorker, WorkerSetup } from "../between/pool.ts";
import { openCatalogue } from "../files/catalogue.ts";
import { openFileHashes } from "../files/file-identity.ts";
import { shareCores } from "../machine/cores.ts";
import { type Candidate, openGpus } from "../machine/gpu.ts";
import { type OperatedPool, openPool, type PoolOptions } from "./model-pool.ts";
import { openThreads } from "./threads.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const never = new AbortController().signal;

/** What a model of the twin's size is reckoned to need. */
const modelBytes = 80_000_000;

/** A worker process' twin. */
interface Twin extends PooledWorker {
  readonly model: string;
  setup: WorkerSetup | undefined;
  threads: number[];
  measured: number[];
  readonly die: (reason: string) => void;
}

let folder: string;
let workers: Twin[];
let availableBytes: number;
/** Resolves when a model of this name may finish loading, rejects when it may not. */
let gates: Map<string, (setup: WorkerSetup) => Promise<void>>;
let pool: OperatedPool<Twin>;

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-pool-");
  execFileSync(process.execPath, [here("../../../image/model/write.ts"), join(folder, "whole.gguf")]);
});
afterAll(() => rmSync(folder, { recursive: true }));

beforeEach(() => {
  mkdirSync(join(folder, "models"));
  for (const name of ["op", "a", "b", "c"])
    copyFileSync(join(folder, "whole.gguf"), join(folder, `models/${name}.gguf`));
  workers = [];
  gates = new Map();
  availableBytes = 64e9;
});
afterEach(() => {
  pool.stop();
  rmSync(join(folder, "models"), { recursive: true });
  rmSync(join(folder, "state"), { recursive: true, force: true });
});

function twin(model: string): Twin {
  const ended = Promise.withResolvers<string>();
  const worker: Twin = {
    ...{ model, pid: 1000 + workers.length, ended: ended.promise, setup: undefined, threads: [], measured: [] },
    die: ended.resolve,
    async load(setup) {
      worker.setup = setup;
      availableBytes -= modelBytes;
      await Promise.race([
        gates.get(model)?.(setup),
        ended.promise.then((reason) => Promise.reject(new Error(reason))),
      ]);
      const { contextTokens, sequences } = setup;
      return { parameters: 1, contextTokens, sequences, loadMs: 1 };
    },
    async setThreads(threads) {
      worker.threads.push(threads);
    },
    async measure(threads) {
      worker.measured.push(threads);
      return { 1: 10, 2: 6, 3: 6.1, 4: 20 }[threads] ?? 99;
    },
    stop() {
      if (worker.setup !== undefined) availableBytes += modelBytes;
      worker.setup = undefined;
      ended.resolve("stopped");
    },
  };
  workers.push(worker);
  return worker;
}

function open(more: Partial<PoolOptions<Twin>> = {}): void {
  const gpus = openGpus({
    candidates: [],
    without: "none",
    spawn: () => spawn("false"),
    clock: systemClock,
    log: silentLog,
  });
  pool = openPool<Twin>({
    catalogue: openCatalogue({ folder: join(folder, "models"), imageFolders: [], imageManifest: join(folder, "none") }),
    levels: { operational: { file: "op.gguf", maxTokens: 1, temperature: 0 }, tactical: undefined },
    threads: openThreads(join(folder, "state/threads.json"), 4, "twin"),
    hashes: openFileHashes(join(folder, "state/hashes.json")),
    cores: shareCores(4, systemClock),
    gpus,
    bindingFolder: "/cpu",
    unloadAfterIdleMs: 60_000,
    start: twin,
    prove: async () => {},
    limitMemory: () => {},
    memory: () => ({ totalBytes: 64e9, availableBytes }),
    clock: systemClock,
    log: silentLog,
    ...more,
  });
}

const use = async (model: string) => (await pool.acquire(model, never)).release();
const loaded = () => workers.filter(({ setup }) => setup !== undefined).map(({ model }) => model);

describe("memory", () => {
  it("is made by unloading the least recently used model that nobody uses, never the operational one", async () => {
    open();
    await pool.ready;
    availableBytes = 2.5 * modelBytes + 1e9;
    await use("a");
    await use("b");
    await use("a");
    await use("c");
    expect(loaded().sort()).toEqual(["a", "c", "op"]);
    const held = await pool.acquire("a", never);
    await use("b");
    expect(loaded().sort()).toEqual(["a", "b", "op"]);
    held.release();
  });

  it("that cannot be had is refused with the figures, and is there again when the others are done", async () => {
    open();
    await pool.ready;
    availableBytes = 1.5 * modelBytes + 1e9;
    const held = await pool.acquire("a", never);
    await expect(pool.acquire("b", never)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringMatching(
        /load model b: it needs 7\d MB of memory \(1 MB of weights, 7\d MB beside them\) and \d+ MB can be had; .*a holds 7\d MB/,
      ),
      retryAfterMs: expect.any(Number),
    });
    held.release();
    await use("b");
    expect(loaded().sort()).toEqual(["b", "op"]);
  });

  it("is not promised twice to models that are loaded at once", async () => {
    open();
    await pool.ready;
    availableBytes = 1.5 * modelBytes + 1e9;
    const both = await Promise.allSettled([pool.acquire("a", never), pool.acquire("b", never)]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("that is short gives a model fewer sequences before it is refused", async () => {
    writeFileSync(
      join(folder, "models/models.toml"),
      '[[model]]\nname = "a"\nfile = "a.gguf"\ncontext_tokens = 1024\n',
    );
    open();
    await pool.ready;
    availableBytes = 1e9 + 76_400_000;
    await use("a");
    expect(workers.at(-1)?.setup?.sequences).toBeLessThan(4);
  });
});

describe("loading", () => {
  it("goes on beside calls of other models, once for all who wait for it", async () => {
    const gate = Promise.withResolvers<void>();
    gates.set("a", () => gate.promise);
    open();
    await pool.ready;
    const first = pool.acquire("a", never);
    const impatient = new AbortController();
    const second = pool.acquire("a", impatient.signal);
    await use("op");
    await use("b");
    impatient.abort(new Error("too long"));
    await expect(second).rejects.toThrow("too long");
    expect(pool.state("a")).toMatchObject({ status: "loading", active: 0 });
    gate.resolve();
    (await first).release();
    expect(workers.filter(({ model }) => model === "a")).toHaveLength(1);
  });

  it("that fails is not tried again for each call, but when the file has changed", async () => {
    gates.set("a", () => Promise.reject(new Error("a strange tokenizer")));
    open();
    await pool.ready;
    const failure = { code: "UNAVAILABLE", message: expect.stringContaining("a strange tokenizer") };
    await expect(use("a")).rejects.toMatchObject(failure);
    await expect(use("a")).rejects.toMatchObject(failure);
    expect(workers.filter(({ model }) => model === "a")).toHaveLength(1);
    expect(pool.state("a")?.status).toMatch(/^error: load model a: a strange tokenizer/);
    gates.clear();
    copyFileSync(join(folder, "whole.gguf"), join(folder, "models/a.gguf"));
    await use("a");
  });

  it("of the operational model starts again when its worker ends, and its callers wait for that", async () => {
    open();
    await pool.ready;
    workers[0]?.die("killed");
    const lease = await pool.acquire("op", never);
    expect(lease.worker).toBe(workers[1]);
    lease.release();
    await expect(pool.unload("op")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("waits for calls in progress when a model is unloaded, and a call that comes then loads it again", async () => {
    open();
    await pool.ready;
    const lease = await pool.acquire("a", never);
    const unloading = pool.unload("a");
    const next = pool.acquire("a", never);
    expect(pool.state("a")).toMatchObject({ status: "unloading", active: 1 });
    lease.release();
    lease.release();
    await unloading;
    (await next).release();
    expect(workers.filter(({ model }) => model === "a")).toHaveLength(2);
    expect(pool.state("a")).toMatchObject({ status: "ready", active: 0, requests: 1 });
  });
});

describe("a GPU", () => {
  const candidate: Candidate = { backend: "vulkan", bindingFolder: "/vulkan" };
  const withGpu = (freeBytes: number) =>
    openGpus({
      candidates: [candidate],
      without: "",
      spawn: () => {
        const answer = { backend: "vulkan", devices: ["Radeon"], totalBytes: 8e9, freeBytes };
        return spawn(process.execPath, ["-e", `console.log('${JSON.stringify(answer)}')`], {
          stdio: ["ignore", "pipe", "ignore"],
        });
      },
      clock: systemClock,
      log: silentLog,
    });

  it("takes a whole model with one thread beside it, or the layers that fit", async () => {
    open({ gpus: withGpu(7e9) });
    await pool.ready;
    expect(workers[0]?.setup).toMatchObject({ backend: "vulkan", bindingFolder: "/vulkan", gpuLayers: 3, threads: 1 });
    expect(pool.state("op")).toMatchObject({ device: "Radeon", gpuMemoryBytes: expect.any(Number) });
    expect(pool.gpu()).toBe("vulkan: Radeon");
    pool.stop();
    workers = [];
    open({ gpus: withGpu(8.03e8) });
    await pool.ready;
    expect(workers[0]?.setup).toMatchObject({ backend: "cpu", bindingFolder: "/cpu", gpuLayers: 0 });
  });

  it("is left alone by a model whose entry says so", async () => {
    writeFileSync(join(folder, "models/models.toml"), '[[model]]\nname = "op"\nfile = "op.gguf"\ngpu_layers = 0\n');
    open({ gpus: withGpu(7e9) });
    await pool.ready;
    expect(workers[0]?.setup).toMatchObject({ backend: "cpu", gpuLayers: 0 });
  });

  it("on which a model does not load is given up for the processor", async () => {
    gates.set("op", async ({ backend }) => {
      if (backend !== "cpu") throw new Error("vk::DeviceLostError");
    });
    open({ gpus: withGpu(7e9) });
    await pool.ready;
    expect(workers.map(({ setup }) => setup?.backend)).toEqual([undefined, "cpu"]);
  });
});

it("threads are measured once the models are idle, and remembered for this machine", async () => {
  const instant = {
    ...systemClock,
    sleep: async (ms: number, signal?: AbortSignal) => systemClock.sleep(ms === 2_000 ? 1 : ms, signal),
  };
  const large = openThreads(join(folder, "state/threads.json"), 4, "twin");
  const grown = (act: "for" | "toMeasure") => (header: Parameters<typeof large.for>[0]) =>
    large[act]({ ...header, parameters: 1e8 });
  const threads = {
    for: grown("for") as typeof large.for,
    toMeasure: grown("toMeasure") as typeof large.toMeasure,
    learn: (header: Parameters<typeof large.learn>[0], ms: ReadonlyMap<number, number>) =>
      large.learn({ ...header, parameters: 1e8 }, ms),
  };
  open({ clock: instant, threads });
  await pool.ready;
  expect(workers[0]?.setup?.threads).toBe(4);
  while (!existsSync(join(folder, "state/threads.json"))) await systemClock.sleep(5);
  await systemClock.sleep(5);
  await use("op");
  expect(workers[0]?.threads.at(-1)).toBe(2);
  expect(workers[0]?.measured).toEqual([1, 2, 3, 4]);
  pool.stop();
  workers = [];
  open({ threads });
  await pool.ready;
  expect(workers[0]?.setup?.threads).toBe(2);
  expect(workers[0]?.measured).toEqual([]);
});
