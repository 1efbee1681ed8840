import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer as createHttp, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { AIRuntimeService, InferRequest, LoadModelRequest, ModelEntry } from "#proto/aios/runtime";
import { modelsOf } from "../model-calls.ts";
import { openMachinePool } from "../models/machine-pool.ts";
import { openRuntime } from "../questions/runtime.ts";
import { runtimeService } from "../service.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const idleMs = 900;

let folder: string;
let whole: Buffer;
let sha256: string;
let workers: ChildProcess[];
let client: Client<typeof AIRuntimeService>;
let close: () => void;
let web: Server;
let url: string;
let served: Buffer;

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-library-");
  execFileSync(process.execPath, [here("../../../image/model/write.ts"), join(folder, "whole.gguf")]);
  whole = readFileSync(join(folder, "whole.gguf"));
  sha256 = createHash("sha256").update(whole).digest("hex");
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A runtime with an operational model, a tactical one that is not there yet, and a server that has it. */
beforeEach(async () => {
  for (const name of ["models", "image/models"]) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(join(folder, "whole.gguf"), join(folder, "image/models/tiny.gguf"));
  writeFileSync(
    join(folder, "image/models.toml"),
    '[[model]]\nname = "tiny"\nfile = "tiny.gguf"\nrole = "operational"\n\n[[model]]\nname = "big"\nfile = "big.Q4.gguf"\nrole = "tactical"\n',
  );
  served = whole;
  web = createHttp((_, response) => void response.writeHead(200, { "content-length": served.length }).end(served));
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/big.Q4.gguf`;
  workers = [];
  const pool = openMachinePool({
    models: {
      operational: { name: "tiny.gguf", max_tokens: 8, temperature: 0.7 },
      tactical: {
        name: "big.Q4.gguf",
        load_on_demand: true,
        max_tokens: 9,
        temperature: 0.2,
        unload_after_idle: `${idleMs}ms`,
      },
    },
    places: {
      folder: join(folder, "models"),
      imageFolders: [join(folder, "image/models")],
      imageManifest: join(folder, "image/models.toml"),
    },
    stateFolder: join(folder, "state"),
    modules: here("../../../node_modules"),
    spawnProbe: () => spawn("false"),
    limitMemory: () => {},
    spawnWorker: () => {
      const child = spawn(process.execPath, [here("../worker/worker.ts")], {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { ...compiled, UV_THREADPOOL_SIZE: "1" },
      });
      workers.push(child);
      return child;
    },
    clock: systemClock,
    log: silentLog,
  });
  const runtime = openRuntime(pool, systemClock);
  const server = createServer(
    [runtimeService(runtime, modelsOf(pool, systemClock))],
    () => coreIdentity("orchestrator"),
    silentLog,
  );
  await listen(server, { path: join(folder, "runtime.sock"), identity: coreIdentity("orchestrator"), mode: 0o600 });
  client = connect(AIRuntimeService, `unix:${join(folder, "runtime.sock")}`);
  close = () => {
    client.close();
    server.forceShutdown();
    runtime.stop();
  };
  await runtime.ready;
});
afterEach(async () => {
  close();
  web.closeAllConnections();
  web.close();
  for (const name of ["models", "image", "state"]) rmSync(join(folder, name), { recursive: true, force: true });
});

const statusOf = async (name: string) =>
  (await client.listModels({})).models.find(({ modelName }) => modelName === name);
const add = (fields: Partial<ModelEntry> = {}) =>
  client.addModel(ModelEntry.fromPartial({ name: "big", file: "big.Q4.gguf", url, sha256, gpuLayers: -1, ...fields }));
const pull = async (modelName = "big") => {
  const steps = [];
  for await (const step of client.pullModel({ modelName })) steps.push(step);
  return steps;
};
const verify = async (modelName = "", readAgain = false) => {
  const verdicts = [];
  for await (const { modelName: name, state, reason } of client.verifyModels({ modelName, readAgain }))
    if (state !== "reading") verdicts.push([name, state, ...(reason === "" ? [] : [reason])]);
  return verdicts;
};
const ask = (fields: Partial<InferRequest>) => client.infer(InferRequest.fromPartial({ prompt: "x", ...fields }));

describe("a model of the manifest", () => {
  it("is added, pulled, verified, asked at its level, unloaded when idle, and removed", async () => {
    await expect(ask({ intelligenceLevel: "tactical" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(/big\.Q4\.gguf is not on this machine/),
    });
    await expect(pull()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("no address"),
    });
    await add();
    expect(await statusOf("big")).toMatchObject({
      status: "absent",
      origin: "machine",
      level: "tactical",
      entry: { role: "tactical" },
    });
    const steps = await pull();
    expect(steps[0]).toMatchObject({ state: "downloading", totalBytes: whole.length });
    expect(steps.at(-1)).toMatchObject({ state: "done", sha256, path: join(folder, "models/big.Q4.gguf") });
    expect(await pull()).toMatchObject([{ state: "present" }]);
    expect(await verify()).toEqual([
      ["tiny", "unpinned"],
      ["big", "good"],
    ]);
    expect(await statusOf("big")).toMatchObject({ status: "available" });

    expect((await ask({ intelligenceLevel: "tactical" })).modelUsed).toBe("big");
    expect((await ask({ model: "big.Q4.gguf" })).modelUsed).toBe("big");
    expect((await ask({ model: "auto" })).modelUsed).toBe("tiny");
    expect(await statusOf("big")).toMatchObject({ status: "ready", requestCount: 2, backend: "cpu", sequences: 4 });
    expect(workers).toHaveLength(2);
    while ((await statusOf("big"))?.status !== "available") await systemClock.sleep(50);
    expect(workers[1]?.signalCode).toBe("SIGKILL");

    expect(await client.removeModel({ modelName: "big", keepFile: false })).toEqual({ freedBytes: whole.length });
    expect(await statusOf("big")).toMatchObject({ status: "absent", origin: "image" });
    expect(readdirSync(join(folder, "models")).filter((name) => name.includes("big"))).toEqual([]);
  });

  it("is not shown when its hash is another, or when it is no model", async () => {
    served = Buffer.from(whole).fill(7, whole.length - 10);
    await add();
    await expect(pull()).rejects.toMatchObject({ code: "DATA_LOSS", message: expect.stringContaining("SHA-256") });
    served = Buffer.from("hello, world");
    await add({ sha256: createHash("sha256").update(served).digest("hex") });
    await expect(pull()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("not a GGUF"),
    });
    expect(existsSync(join(folder, "models/big.Q4.gguf"))).toBe(false);
    await expect(pull("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("is found to be another file than the manifest's before it is loaded", async () => {
    await add();
    writeFileSync(join(folder, "models/big.Q4.gguf"), Buffer.concat([whole, Buffer.alloc(32)]));
    await expect(ask({ model: "big" })).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringMatching(/pull big.*fetches it again/),
    });
    expect(await verify("big")).toEqual([["big", "bad", expect.stringContaining("SHA-256")]]);
    expect(workers).toHaveLength(1);
    writeFileSync(join(folder, "models/big.Q4.gguf"), whole);
    expect((await ask({ model: "big" })).modelUsed).toBe("big");
  });

  it("that nobody can have is refused in words", async () => {
    await expect(add({ sha256: "x" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("sha256"),
    });
    await expect(add({ path: "/nowhere/x.gguf" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.removeModel({ modelName: "big", keepFile: false })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("part of the image"),
    });
    await expect(client.removeModel({ modelName: "tiny", keepFile: false })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
    expect(await verify("big")).toEqual([["big", "absent", expect.any(String)]]);
  });

  it("is loaded and unloaded by hand, from where the operator says and as they say", async () => {
    copyFileSync(join(folder, "whole.gguf"), join(folder, "elsewhere.gguf"));
    const load = (fields: Partial<LoadModelRequest>) =>
      client.loadModel(LoadModelRequest.fromPartial({ modelName: "mine", ...fields }), { timeoutMs: 20_000 });
    const modelPath = join(folder, "elsewhere.gguf");
    expect(await load({ modelPath, contextLength: 256 })).toMatchObject({
      modelName: "mine",
      status: "ready",
      contextTokens: 256,
      path: modelPath,
    });
    const before = workers.length;
    expect(await load({})).toMatchObject({ contextTokens: 256 });
    expect(workers.length).toBe(before);
    expect(await load({ contextLength: 512, threads: 1 })).toMatchObject({ contextTokens: 512 });
    expect(workers.length).toBe(before + 1);
    await expect(load({ contextLength: 4096 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/4096.*trained for 1024/),
    });
    expect(await statusOf("mine")).toMatchObject({ status: "ready", contextTokens: 512 });
    await expect(load({ threads: -1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await client.unloadModel({ modelName: "mine" })).toMatchObject({ success: true });
    expect(await statusOf("mine")).toMatchObject({ status: "available" });
    await expect(client.unloadModel({ modelName: "tiny" })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(load({ modelName: "gone" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("goes on answering when its file is removed under it, and says so when it is loaded again", async () => {
    await add();
    await pull();
    await ask({ model: "big" });
    rmSync(join(folder, "models/big.Q4.gguf"));
    expect((await ask({ model: "big" })).modelUsed).toBe("big");
    await client.unloadModel({ modelName: "big" });
    await expect(ask({ model: "big" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/not on this machine.*pull big/),
    });
  });

  it("whose worker dies costs its own callers only, and comes back with the next call", async () => {
    await add();
    await pull();
    await ask({ model: "big" });
    const dying = ask({ model: "big", maxTokens: 900, jsonSchema: '{"type":"string","minLength":5000}' });
    const living = ask({ maxTokens: 60 });
    await systemClock.sleep(20);
    workers[1]?.kill("SIGABRT");
    await expect(dying).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect((await living).modelUsed).toBe("tiny");
    expect((await ask({ model: "big" })).modelUsed).toBe("big");
    expect(workers).toHaveLength(3);
  });
});

it("a broken manifest of the machine is reported, and changes nothing else", async () => {
  writeFileSync(join(folder, "models/models.toml"), '[[model]]\nname = "x"\n');
  expect(await client.healthCheck({})).toMatchObject({
    healthy: true,
    message: expect.stringMatching(/models\.toml: model 1: file/),
  });
  await expect(add()).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: expect.stringContaining("models.toml"),
  });
  expect((await ask({})).modelUsed).toBe("tiny");
});
