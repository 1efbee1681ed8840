import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { Generated, Generation } from "./between/messages.ts";
import type { ModelPool } from "./between/pool.ts";
import { startWorker, type Worker, type Write } from "./between/worker-process.ts";
import type { Ask } from "./questions/ask.ts";
import { channel } from "./questions/channel.ts";
import { openRuntime } from "./questions/runtime.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync("/tmp/aios-slow-caller-");
const modelPath = join(folder, "tiny.gguf");
beforeAll(() => void execFileSync(process.execPath, [here("../../image/model/write.ts"), modelPath]));
afterAll(() => rmSync(folder, { recursive: true }));

const generation: Generation = {
  ...{ messages: [{ role: "user", content: "go on" }], truncate: false, maxTokens: 400, stop: [] },
  ...{ temperature: 1, topK: 40, topP: 0.95, minP: 0.05, seed: 5, grammar: 'root ::= "\\"" [a-z ]{300,} "\\""' },
};

it("a worker generates nothing while its caller has no room, and the same answer as ever", async () => {
  const spawnWorker = () =>
    spawn(process.execPath, [here("worker/worker.ts")], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const worker = startWorker(spawnWorker, "tiny", systemClock, silentLog);
  try {
    await worker.load({
      ...{ model: "tiny", modelPath, kind: "generation", backend: "cpu", gpuLayers: 0, chatTemplate: "" },
      bindingFolder: here("../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"),
      ...{ contextTokens: 1024, sequences: 2, batchTokens: 512, threads: 1 },
    });
    const never = new AbortController().signal;
    const answer = async (write: (text: string) => Promise<void> | undefined) => {
      let text = "";
      const hear: Write = (part) => {
        text += part;
        return write(text);
      };
      const generated = await worker.generate(generation, hear, never);
      return { text, generated };
    };
    const whole = await answer(() => undefined);
    const room = Promise.withResolvers<void>();
    let seen = 0;
    const slow = answer((text) => {
      seen = text.length;
      return room.promise;
    });
    while (seen === 0) await systemClock.sleep(5);
    await systemClock.sleep(100);
    const held = seen;
    await systemClock.sleep(300);
    expect(seen).toBe(held);
    expect(held).toBeLessThan(whole.text.length / 2);
    const other = await answer(() => undefined);
    expect(other.generated.answerTokens).toBeGreaterThan(100);
    room.resolve();
    expect((await slow).text.length).toBeGreaterThan(held * 2);
  } finally {
    worker.stop();
    await worker.ended;
  }
});

it("a channel has room again once all is read", async () => {
  const { parts, write, close } = channel(3);
  expect(write("abc")).toBeUndefined();
  const full = write("d");
  expect(write("e")).toBe(full);
  const read = parts[Symbol.asyncIterator]();
  expect(await read.next()).toMatchObject({ value: "abcde" });
  await full;
  expect(write("f")).toBeUndefined();
  close();
  expect(await read.next()).toMatchObject({ value: "f" });
  expect(await read.next()).toMatchObject({ done: true });
});

it("an answer that nobody reads ends after half a minute, and its worker is given back", async () => {
  const clock = new ManualClock();
  let released = 0;
  let written = 0;
  /** Writes as much as it is let, and ends when it is told. */
  const generate: Worker["generate"] = async (_, write, signal) => {
    while (!signal.aborted) {
      written++;
      const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      await Promise.race([write("x".repeat(1_000)), stopped]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { stop: "abort", answerTokens: 1, answerMs: 1, promptMs: 1 } as Generated;
  };
  const pool = {
    ready: Promise.resolve(),
    route: () => ({ model: "twin", maxTokens: 1, temperature: 1 }),
    acquire: async () => ({ model: "twin", sequences: 1, worker: { generate }, release: () => void released++ }),
    models: () => [],
  } as unknown as ModelPool<Worker>;
  const runtime = openRuntime(pool, clock);
  const ask: Ask = {
    ...{ caller: "core", priority: "interactive", model: "", level: "", system: "", messages: [], prompt: "go on" },
    ...{ maxTokens: 0, temperature: 0, stop: [], jsonSchema: "", truncate: false },
  };
  const answer = runtime.stream(ask, new AbortController().signal);
  await answer.next();
  await systemClock.sleep(50);
  const full = written;
  expect(full).toBeLessThan(25);
  await clock.advance(29_000);
  expect(released).toBe(0);
  await clock.advance(2_000);
  await systemClock.sleep(20);
  expect(written).toBe(full);
  expect(released).toBe(1);
  await answer.next();
  await expect(answer.next()).rejects.toMatchObject({
    code: "ABORTED",
    message: expect.stringContaining("read nothing"),
  });
});
