import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { InferRequest } from "#proto/aios/runtime";
import { writeBringUpModel } from "../../image/model/bring-up.ts";
import type { Bench } from "./bench.ts";
import { type RunningRuntime, residentMb, startRuntime } from "./inference/inference-runtime.ts";
import type { Measure } from "./row.ts";

const soakMs = 120_000;
const callers = 8;
/** Between two reloads in the first half: the worker is killed, as a crash in native code would end it. */
const reloadMs = 5_000;
const memoryBudgetMb = 24;
/** Longer than anything a caller here asks: what is still there then is stuck. */
const settleMs = 10_000;
/** A model whose worker dies again and again is started again after ever longer pauses, up to half a minute. */
const reloadedMs = 60_000;

/** Mixed calls, cancelled streams and reloads for two minutes: an hour's worth on a machine with one person at it. */
export const soakBench: Bench = ({ repository, say }) => soak(repository, soakMs, say);

/** The same for `ms` milliseconds. */
export async function soak(repository: string, ms: number, say: (line: string) => void): Promise<readonly Measure[]> {
  const folder = mkdtempSync(join(tmpdir(), "aios-soak-"));
  const modelPath = join(folder, "tiny.gguf");
  writeBringUpModel(modelPath);
  const runtime = await startRuntime(repository, folder, modelPath);
  try {
    const outcomes = new Map<string, number>();
    const { reloads, before, after } = await underLoad(runtime, outcomes, async () => {
      const count = await reload(runtime, ms / 2);
      await sleep(ms / 8);
      const early = await memory(runtime);
      await sleep((ms * 3) / 8);
      return { reloads: count, before: early, after: await memory(runtime) };
    });
    const stuck = await stuckCalls(runtime);
    for (const [outcome, count] of outcomes) say(`bench: soak: ${count} ${outcome}`);
    const budget = memoryBudgetMb;
    return [
      { name: "soak.calls", value: [...outcomes.values()].reduce((a, b) => a + b, 0), unit: "count" },
      { name: "soak.reloads", value: reloads, unit: "count" },
      { name: "soak.daemon.growth", value: after.daemon - before.daemon, unit: "MB", budget },
      { name: "soak.worker.growth", value: after.worker - before.worker, unit: "MB", budget },
      { name: "soak.sequences_free", value: 4 - stuck, unit: "count", budget: 4 },
    ];
  } finally {
    await runtime.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs `act` while callers ask; throws what went wrong in either. */
async function underLoad<T>(runtime: RunningRuntime, outcomes: Map<string, number>, act: () => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const all = Promise.all(Array.from({ length: callers }, (_, at) => call(runtime, at, outcomes, ending.signal)));
  all.catch(() => {});
  try {
    return await act();
  } finally {
    ending.abort();
    await all;
  }
}

/** What callers do, and what may come of it. */
const acts: readonly { readonly fields: Partial<InferRequest>; readonly codes: readonly string[]; leaves?: boolean }[] =
  [
    { fields: { maxTokens: 16 }, codes: ["OK"] },
    { fields: { maxTokens: 8, systemPrompt: "You are one of eight agents of a machine. ".repeat(10) }, codes: ["OK"] },
    { fields: { maxTokens: 32, jsonSchema: '{"enum":["yes","no"]}' }, codes: ["OK"] },
    {
      fields: { maxTokens: 600, jsonSchema: '{"type":"string","minLength":3000}' },
      codes: ["CANCELLED"],
      leaves: true,
    },
    { fields: { maxTokens: 4, prompt: "disk ".repeat(3_000), truncate: true }, codes: ["OK"] },
    { fields: { prompt: "disk ".repeat(3_000) }, codes: ["INVALID_ARGUMENT"] },
    { fields: { jsonSchema: "{" }, codes: ["INVALID_ARGUMENT"] },
    { fields: { maxTokens: 4, jsonSchema: '{"type":"string","minLength":200}' }, codes: ["OUT_OF_RANGE"] },
    { fields: { maxTokens: 64, stop: ["e", " "] }, codes: ["OK"] },
    { fields: { model: "nobody" }, codes: ["NOT_FOUND"] },
  ];

/** A call may always meet a worker that was just killed, and a full queue. */
const always = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"];

async function call(
  { client }: RunningRuntime,
  caller: number,
  outcomes: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  for (let at = caller * 3; !signal.aborted; at++) {
    const act = acts[(at * 7 + caller) % acts.length];
    if (act === undefined) continue;
    const code = await outcome(client, act.fields, act.leaves ?? false, at);
    if (!act.codes.includes(code) && !always.includes(code)) {
      throw new Error(`${JSON.stringify(act.fields).slice(0, 120)} ended with ${code}, not ${act.codes.join(" or ")}`);
    }
    outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
    if (code === "UNAVAILABLE") await sleep(50);
  }
}

async function outcome(
  client: RunningRuntime["client"],
  fields: Partial<InferRequest>,
  leaves: boolean,
  seed: number,
): Promise<string> {
  const request = InferRequest.fromPartial({ prompt: `Is disk ${seed} full?`, seed, ...fields });
  try {
    if (leaves) {
      for await (const { done } of client.streamInfer(request)) if (!done) return "CANCELLED";
    } else if (seed % 2 === 0) {
      for await (const _ of client.streamInfer(request));
    } else {
      await client.infer(request, { timeoutMs: 5_000 });
    }
    return "OK";
  } catch (error) {
    if (error instanceof AiosError) return error.code;
    throw error;
  }
}

/** Kills the worker again and again for `ms`; returns how often it came back. */
async function reload(runtime: RunningRuntime, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let count = 0;
  while (performance.now() < until) {
    await sleep(Math.min(reloadMs, ms / 3));
    process.kill((await ready(runtime)).pid, "SIGKILL");
    await sleep(200);
    await ready(runtime, reloadedMs);
    count++;
  }
  return count;
}

async function ready(runtime: RunningRuntime, timeoutMs = settleMs) {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const model = await runtime.model().catch(() => undefined);
    if (model !== undefined) return model;
    if (performance.now() > until) throw new Error("the model did not come back");
    await sleep(20);
  }
}

async function memory(runtime: RunningRuntime): Promise<{ daemon: number; worker: number }> {
  return { daemon: residentMb(runtime.daemon.pid ?? 0), worker: residentMb((await ready(runtime)).pid) };
}

/** Sequences that are not free although nobody asks any more. */
async function stuckCalls(runtime: RunningRuntime): Promise<number> {
  const until = performance.now() + settleMs;
  for (;;) {
    const { active } = await ready(runtime);
    if (active === 0 || performance.now() > until) return active;
    await sleep(50);
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
