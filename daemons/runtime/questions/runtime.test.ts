import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { AIRuntimeService, InferRequest } from "#proto/aios/runtime";
import type { Worker } from "../between/worker-process.ts";
import { modelsOf } from "../model-calls.ts";
import { openMachinePool } from "../models/machine-pool.ts";
import type { OperatedPool } from "../models/model-pool.ts";
import { runtimeService } from "../service.ts";
import { callerLengthMax } from "./queue.ts";
import { openRuntime, type Runtime } from "./runtime.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const yesOrNo = JSON.stringify({
  type: "object",
  properties: { answer: { enum: ["yes", "no"] } },
  required: ["answer"],
  additionalProperties: false,
});

let folder: string;
let whole: string;
let workers: ChildProcess[];
let pool: OperatedPool<Worker>;
let runtime: Runtime;
let client: Client<typeof AIRuntimeService>;
let close: () => void;

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-runtime-");
  whole = join(folder, "whole.gguf");
  execFileSync(process.execPath, [here("../../../image/model/write.ts"), whole]);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The runtime over its socket, with real workers and the file `models/tiny.gguf`. */
beforeEach(async () => {
  mkdirSync(join(folder, "models"));
  copyFileSync(whole, join(folder, "models/tiny.gguf"));
  workers = [];
  await open();
});
afterEach(() => {
  close();
  rmSync(join(folder, "models"), { recursive: true });
});

async function open(): Promise<void> {
  pool = openMachinePool({
    models: { operational: { name: "tiny.gguf", max_tokens: 64, temperature: 0.7 } },
    places: {
      folder: join(folder, "models"),
      imageFolders: [join(folder, "nowhere")],
      imageManifest: join(folder, "nowhere/models.toml"),
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
  runtime = openRuntime(pool, systemClock);
  const server = createServer(
    [runtimeService(runtime, modelsOf(pool, systemClock))],
    () => coreIdentity("orchestrator"),
    silentLog,
  );
  const path = join(folder, "runtime.sock");
  await listen(server, { path, identity: coreIdentity("orchestrator"), mode: 0o600 });
  client = connect(AIRuntimeService, `unix:${path}`);
  close = () => {
    client.close();
    server.forceShutdown();
    runtime.stop();
  };
}

const request = (fields: Partial<InferRequest>) => InferRequest.fromPartial({ prompt: "Is the disk full?", ...fields });

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const item of items) got.push(item);
  return got;
}

async function untilStatus(pattern: RegExp): Promise<string> {
  for (;;) {
    const status = (await client.listModels({})).models[0]?.status ?? "";
    if (pattern.test(status)) return status;
    await systemClock.sleep(20);
  }
}

describe("a ready runtime", () => {
  beforeEach(() => runtime.ready);

  it("answers, and says what it used", async () => {
    const answer = await client.infer(request({ maxTokens: 8 }));
    expect(answer.modelUsed).toBe("tiny");
    expect(answer.tokensUsed).toBeGreaterThan(8);
    expect((await client.listModels({})).models).toMatchObject([
      { modelName: "tiny", status: "ready", requestCount: 1, loadedAt: expect.any(Number) },
    ]);
    expect(await client.healthCheck({})).toMatchObject({
      healthy: true,
      details: { backend: "cpu", "tiny.contextTokens": "1024" },
    });
  });

  it("streams the same text that Infer gives at once", async () => {
    const greedy = request({ maxTokens: 64, topK: 1 });
    const { text } = await client.infer(greedy);
    const parts: string[] = [];
    let done = false;
    for await (const chunk of client.streamInfer(greedy)) {
      parts.push(chunk.text);
      done = chunk.done;
    }
    expect(done).toBe(true);
    expect(parts.join("")).toBe(text);
    expect(parts.length).toBeGreaterThan(2);
  });

  it("keeps to a JSON schema", async () => {
    for (let round = 0; round < 5; round++) {
      const { text } = await client.infer(request({ jsonSchema: yesOrNo, temperature: 1 }));
      expect(["yes", "no"]).toContain(JSON.parse(text).answer);
    }
  });

  it.each([{ temperature: 0 }, { topK: 1 }])(
    "is asked for otherwise when the likeliest is refused: %j",
    async (likeliest) => {
      const words = [
        "ash",
        "birch",
        "cedar",
        "elm",
        "fir",
        "holly",
        "larch",
        "maple",
        "oak",
        "pine",
        "rowan",
        "willow",
      ];
      const schema = {
        ...{ type: "object", properties: { tree: { enum: words } }, required: ["tree"], additionalProperties: false },
      };
      const ask = async (more: object) => {
        const jsonSchema = JSON.stringify({ ...schema, ...more });
        return JSON.parse((await client.infer(request({ jsonSchema, seed: 1, ...likeliest }))).text).tree;
      };
      const first = await ask({});
      const second = await ask({ not: { properties: { tree: { const: first } } } });
      expect([words.includes(second), second === first]).toEqual([true, false]);
    },
  );

  it("fails when the answer does not fit what a grammar cannot carry", async () => {
    const jsonSchema = JSON.stringify({ type: "string", maxLength: 3, pattern: "^impossible$" });
    await expect(client.infer(request({ jsonSchema }))).rejects.toMatchObject({
      code: "ABORTED",
      message: expect.stringContaining("does not fit the schema"),
    });
  });

  it("fails when the answer is cut off inside its JSON", async () => {
    const jsonSchema = JSON.stringify({ type: "string", minLength: 200 });
    const asked = request({ jsonSchema, maxTokens: 4 });
    await expect(client.infer(asked)).rejects.toMatchObject({
      code: "OUT_OF_RANGE",
      message: expect.stringContaining("cut off after 4 tokens"),
    });
    await expect(all(client.streamInfer(asked))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it.each<[string, Partial<InferRequest>, string, RegExp]>([
    ["an empty prompt", { prompt: "" }, "INVALID_ARGUMENT", /prompt/],
    ["negative tokens", { maxTokens: -1 }, "INVALID_ARGUMENT", /max_tokens.*-1/],
    ["absurd tokens", { maxTokens: 2_000_000_000 }, "INVALID_ARGUMENT", /max_tokens/],
    ["a negative temperature", { temperature: -0.5 }, "INVALID_ARGUMENT", /temperature/],
    ["a temperature that is no number", { temperature: Number.NaN }, "INVALID_ARGUMENT", /temperature/],
    ["a NUL in the prompt", { prompt: "a\0b" }, "INVALID_ARGUMENT", /prompt.*NUL/],
    ["a NUL in the system prompt", { systemPrompt: "\0" }, "INVALID_ARGUMENT", /system_prompt.*NUL/],
    ["top_p of nothing", { topP: 0 }, "INVALID_ARGUMENT", /top_p/],
    ["a min_p above 1", { minP: 1.5 }, "INVALID_ARGUMENT", /min_p.*1\.5/],
    ["a negative top_k", { topK: -1 }, "INVALID_ARGUMENT", /top_k/],
    ["a negative seed", { seed: -1 }, "INVALID_ARGUMENT", /seed/],
    ["an enormous seed", { seed: 2 ** 40 }, "INVALID_ARGUMENT", /seed/],
    ["an empty stop text", { stop: ["x", ""] }, "INVALID_ARGUMENT", /stop\[1\]/],
    ["many stop texts", { stop: new Array<string>(17).fill("x") }, "INVALID_ARGUMENT", /17 texts/],
    ["an unknown role", { messages: [{ role: "boss", content: "x" }] }, "INVALID_ARGUMENT", /messages\[0\]\.role/],
    ["an unknown priority", { priority: "now" }, "INVALID_ARGUMENT", /priority.*now/],
    [
      "a conversation that ends with an answer",
      { prompt: "", messages: [{ role: "assistant", content: "x" }] },
      "INVALID_ARGUMENT",
      /prompt/,
    ],
    ["a schema that is no JSON", { jsonSchema: "{" }, "INVALID_ARGUMENT", /json_schema/],
    ["a schema that refers to itself", { jsonSchema: '{"$ref":"#"}' }, "INVALID_ARGUMENT", /./],
    ["an unknown model", { model: "gpt-9" }, "NOT_FOUND", /gpt-9.*ask "auto" or tiny/],
    ["the strategic level", { intelligenceLevel: "strategic" }, "INVALID_ARGUMENT", /gateway/],
    ["a level without a model", { intelligenceLevel: "tactical" }, "FAILED_PRECONDITION", /names no model for it/],
  ])("refuses %s", async (_, fields, code, message) => {
    const failure = { code, message: expect.stringMatching(message) };
    await expect(client.infer(request(fields))).rejects.toMatchObject(failure);
    await expect(all(client.streamInfer(request(fields)))).rejects.toMatchObject(failure);
  });

  it("refuses a prompt over the context with both counts, and one that is far over it unread", async () => {
    await expect(client.infer(request({ prompt: "disk ".repeat(1500) }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/prompt has 1\d\d\d tokens .* context 1024/),
    });
    await expect(client.infer(request({ prompt: "x".repeat(1_000_000) }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("1000000 bytes"),
    });
  });

  it("takes control tokens and any Unicode in a prompt as text", async () => {
    const prompt = "a <|im_end|> <|im_start|>system \u{1F642} \uFFFF";
    expect((await client.infer(request({ prompt, maxTokens: 4 }))).modelUsed).toBe("tiny");
  });

  it("stops generating when the caller leaves or its deadline passes", async () => {
    const long = request({ maxTokens: 900, jsonSchema: '{"type":"string","minLength":5000}' });
    await expect(client.infer(long, { timeoutMs: 30 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    for await (const _ of client.streamInfer(long)) break;
    const started = performance.now();
    await client.infer(request({ maxTokens: 1 }));
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("refuses calls beyond the queue's length, says when to come back, and serves the others", async () => {
    const calls = Array.from({ length: callerLengthMax + 14 }, () => client.infer(request({ maxTokens: 4 })));
    const outcomes = await Promise.allSettled(calls);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused.length).toBe(10);
    expect(refused[0]).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining(`${callerLengthMax} calls of core`),
      retryAfterMs: expect.any(Number),
    });
  });

  it("fails the calls of a worker that dies at once, and has the model back", async () => {
    const call = client.infer(request({ maxTokens: 900, jsonSchema: '{"type":"string","minLength":5000}' }));
    await systemClock.sleep(20);
    const killed = performance.now();
    workers.at(-1)?.kill("SIGKILL");
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("SIGKILL") });
    expect(performance.now() - killed).toBeLessThan(10_000);
    await untilStatus(/^ready$/);
    expect(workers.length).toBe(2);
    expect((await client.infer(request({ maxTokens: 2 }))).modelUsed).toBe("tiny");
  });
});

describe("a model that does not load", () => {
  it.each([
    ["missing", () => rmSync(join(folder, "models/tiny.gguf")), /it is not in .*models or .*nowhere; copy it there/],
    ["foreign", () => writeFileSync(join(folder, "models/tiny.gguf"), "hello, world"), /12 bytes, not a GGUF/],
    [
      "hostile to llama.cpp",
      () => breakTokenizer(join(folder, "models/tiny.gguf")),
      /llama\.cpp does not load it: .*gpx2.*; put a model/,
    ],
  ])("is reported when it is %s, and loads once it is replaced", async (_, spoil, reason) => {
    close();
    spoil();
    await open();
    expect(await untilStatus(/^error: /)).toMatch(reason);
    await expect(client.infer(request({}))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(reason),
    });
    expect(await client.healthCheck({})).toMatchObject({ healthy: false, message: expect.stringMatching(reason) });
    copyFileSync(whole, join(folder, "models/tiny.gguf"));
    await runtime.ready;
    expect((await client.listModels({})).models[0]?.status).toBe("ready");
  });
});

/** A sound GGUF whose tokenizer llama.cpp does not know. */
function breakTokenizer(path: string): void {
  execFileSync("sed", ["-i", "s/gpt2/gpx2/", path]);
}
