import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferRequest } from "#proto/aios/runtime";
import type { Bench } from "../bench.ts";
import type { Measure } from "../row.ts";
import type { BareReply, BareRequest } from "./inference-bare.ts";
import { benchModelFile } from "./inference-model.ts";
import { type RunningRuntime, residentMb, startRuntime, stream } from "./inference-runtime.ts";
import { measureServer } from "./inference-server.ts";

const speedBudget = 0.95;
const firstTokenBudgetMs = 5;
const fourStreamsBudget = 1.5;
const reuseBudget = 5;

/** Of the long prompt, and of the answers. */
const promptTokens = 512;
const answerTokens = 128;
/** Rounds of both, in turn: what else the machine does falls on both alike. The best of each counts. */
const rounds = 5;
const shortPrompts = 15;
const shortTokens = 48;

/**
 * The runtime daemon over its socket against node-llama-cpp's own interface in a process that does nothing else, with the
 * same model, threads and sampling, in the same run; and against llama.cpp's server where there is one.
 */
export const inferenceBench: Bench = async ({ repository, cache, words: options, searchPath, say }) => {
  if (options.includes("--gpu")) {
    const reason = noGpu(repository);
    if (reason !== undefined) {
      say(`bench: inference on a GPU: skipped, ${reason}`);
      return [];
    }
  }
  const folder = mkdtempSync(join(tmpdir(), "aios-bench-inference-"));
  const modelPath = benchModelFile(cache, say);
  const runtime = await startRuntime(repository, folder, modelPath);
  try {
    await runtime.settled();
    const model = await runtime.model();
    const gpu = options.includes("--gpu");
    if (gpu) say(`bench: inference on ${model.device || "no GPU: the runtime chose the processor"}`);
    const bare = await startBare(repository, modelPath, model.threads, gpu);
    say(`bench: ${model.threads} threads, ${model.sequences} sequences`);
    try {
      return [
        { name: "runtime.threads", value: model.threads, unit: "count" },
        { name: "runtime.load", value: model.loadMs, unit: "ms" },
        { name: "bare.load", value: bare.loadMs, unit: "ms" },
        ...(await speeds(runtime, bare, say)),
        ...(await firstTokens(runtime, bare)),
        ...(await streams(runtime, say)),
        ...(await reuse(runtime, say)),
        { name: "runtime.worker.resident", value: residentMb(model.pid), unit: "MB" },
        { name: "runtime.daemon.resident", value: residentMb(runtime.daemon.pid ?? 0), unit: "MB" },
        { name: "bare.resident", value: residentMb(bare.child.pid ?? 0), unit: "MB" },
        ...(await measureServer({ modelPath, threads: model.threads, searchPath, say, promptTokens, answerTokens })),
      ];
    } finally {
      bare.child.disconnect();
    }
  } finally {
    await runtime.close();
    rmSync(folder, { recursive: true, force: true });
  }
};

/** Why this machine measures nothing on a GPU; undefined when it can. */
function noGpu(repository: string): string | undefined {
  const devices = ["/dev/nvidia0", ...driRenderers()].filter((path) => existsSync(path));
  if (devices.length === 0) return "this machine has no GPU (neither /dev/nvidia0 nor a render node in /dev/dri)";
  const backends = ["linux-x64-cuda", "linux-x64-vulkan"];
  const there = backends.some((name) => existsSync(join(repository, "node_modules/@node-llama-cpp", name)));
  return there
    ? undefined
    : `none of llama.cpp's back ends for GPUs is installed (@node-llama-cpp/${backends.join(", ")})`;
}

function driRenderers(): string[] {
  try {
    return readdirSync("/dev/dri")
      .filter((name) => name.startsWith("renderD"))
      .map((name) => `/dev/dri/${name}`);
  } catch {
    return [];
  }
}

interface Bare {
  readonly child: ChildProcess;
  readonly loadMs: number;
  answer(request: BareRequest): Promise<BareReply>;
}

async function startBare(repository: string, modelPath: string, threads: number, gpu: boolean): Promise<Bare> {
  const program = join(repository, "qemu/bench/inference/inference-bare.ts");
  const child = spawn(process.execPath, [program, modelPath, String(threads), gpu ? "gpu" : "cpu"], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", UV_THREADPOOL_SIZE: "1" },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [{ loadMs }] = await once(child, "message");
  return {
    child,
    loadMs,
    async answer(request) {
      child.send(request);
      const [reply] = await once(child, "message");
      return reply;
    },
  };
}

/** A prompt of about so many tokens that begins like no other: nothing of it is held from before. */
function prompt(tokens: number, seed: number): string {
  const words = ["disk", "agent", "task", "memory", "network", "service", "report", "goal", "tool", "result"];
  const text = Array.from({ length: tokens }, (_, at) => words[(seed * 7 + at * at + at * seed) % words.length]);
  return `${seed} ${text.join(" ")}`;
}

async function speeds(runtime: RunningRuntime, bare: Bare, say: (line: string) => void): Promise<Measure[]> {
  const of = { bare: { prompt: 0, answer: 0 }, runtime: { prompt: 0, answer: 0 } };
  const best = (who: "bare" | "runtime", promptPerS: number, answerPerS: number) => {
    of[who] = { prompt: Math.max(of[who].prompt, promptPerS), answer: Math.max(of[who].answer, answerPerS) };
  };
  const words = await wordsFor(runtime, promptTokens);
  for (let round = 1; round <= rounds; round++) {
    const ours = await stream(runtime.client, {
      prompt: prompt(words, round),
      maxTokens: answerTokens,
      ...sampling(round),
    });
    const { promptTokens: read, reusedTokens } = ours.statistics;
    best("runtime", ((read - reusedTokens) / ours.firstTokenMs) * 1000, perSecond(ours));
    const theirs = await bare.answer({ promptTokens: read - reusedTokens, answerTokens, seed: round });
    best("bare", ((read - reusedTokens) / theirs.firstTokenMs) * 1000, perSecond(theirs));
  }
  say(`bench: runtime ${of.runtime.prompt.toFixed(0)} and ${of.runtime.answer.toFixed(1)} tokens/s (prompt, answer)`);
  say(`bench: bare    ${of.bare.prompt.toFixed(0)} and ${of.bare.answer.toFixed(1)} tokens/s`);
  return [
    { name: "runtime.prompt", value: of.runtime.prompt, unit: "per_s" },
    { name: "runtime.answer", value: of.runtime.answer, unit: "per_s" },
    { name: "bare.prompt", value: of.bare.prompt, unit: "per_s" },
    { name: "bare.answer", value: of.bare.answer, unit: "per_s" },
    { name: "runtime.prompt.of_bare", value: of.runtime.prompt / of.bare.prompt, unit: "ratio", budget: speedBudget },
    { name: "runtime.answer.of_bare", value: of.runtime.answer / of.bare.answer, unit: "ratio", budget: speedBudget },
  ];
}

const sampling = (seed: number) => ({ temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, seed });

const perSecond = ({ answerTokens: tokens, answerMs }: { answerTokens: number; answerMs: number }) =>
  ((tokens - 1) / answerMs) * 1000;

/** How many words make a prompt of so many tokens, in the model's chat format. */
async function wordsFor({ client }: RunningRuntime, tokens: number): Promise<number> {
  const { tokens: counted } = await client.countTokens(InferRequest.fromPartial({ prompt: prompt(tokens, 0) }));
  return Math.floor((tokens * tokens) / counted);
}

/** Time to the first token of short prompts: what the socket, the daemon and the queue add to llama.cpp itself. */
async function firstTokens(runtime: RunningRuntime, bare: Bare): Promise<Measure[]> {
  const ours: number[] = [];
  const theirs: number[] = [];
  const words = await wordsFor(runtime, shortTokens);
  for (let seed = 100; seed < 100 + shortPrompts; seed++) {
    const one = await stream(runtime.client, { prompt: prompt(words, seed), maxTokens: 2, ...sampling(seed) });
    ours.push(one.firstTokenMs);
    const { promptTokens: read, reusedTokens } = one.statistics;
    theirs.push((await bare.answer({ promptTokens: read - reusedTokens, answerTokens: 2, seed })).firstTokenMs);
  }
  return [
    { name: "runtime.first_token", value: median(ours), unit: "ms" },
    { name: "bare.first_token", value: median(theirs), unit: "ms" },
    { name: "runtime.first_token.added", value: median(ours) - median(theirs), unit: "ms", budget: firstTokenBudgetMs },
  ];
}

/** Tokens of all answers together, per second, with so many streams at a time. */
async function streams(runtime: RunningRuntime, say: (line: string) => void): Promise<Measure[]> {
  const together = async (count: number) => {
    const begun = performance.now();
    const answers = await Promise.all(
      Array.from({ length: count }, (_, at) =>
        stream(runtime.client, { prompt: `stream ${count} ${at}`, maxTokens: 96, ...sampling(at) }),
      ),
    );
    return (answers.reduce((sum, answer) => sum + answer.answerTokens, 0) / (performance.now() - begun)) * 1000;
  };
  const best: Record<number, number> = {};
  for (let round = 0; round < 3; round++) {
    for (const count of [1, 4, 8]) best[count] = Math.max(best[count] ?? 0, await together(count));
  }
  const [one = 0, four = 0, eight = 0] = [best[1], best[4], best[8]];
  say(`bench: ${one.toFixed(0)}, ${four.toFixed(0)} and ${eight.toFixed(0)} tokens/s with 1, 4 and 8 streams`);
  return [
    { name: "runtime.streams_1", value: one, unit: "per_s" },
    { name: "runtime.streams_4", value: four, unit: "per_s" },
    { name: "runtime.streams_8", value: eight, unit: "per_s" },
    { name: "runtime.streams_4.of_1", value: four / one, unit: "ratio", budget: fourStreamsBudget },
  ];
}

/** Time to the first token of a second question after a system prompt of 500 tokens, against that of the first. */
async function reuse(runtime: RunningRuntime, say: (line: string) => void): Promise<Measure[]> {
  const words = await wordsFor(runtime, 500);
  const ask = async (seed: number, question: string) =>
    stream(runtime.client, { systemPrompt: prompt(words, seed), prompt: question, maxTokens: 2, ...sampling(seed) });
  const firsts: number[] = [];
  const seconds: number[] = [];
  for (let seed = 1_000; seed < 1_005; seed++) {
    firsts.push((await ask(seed, "Is the disk full?")).firstTokenMs);
    const second = await ask(seed, "Which agent is idle?");
    if (second.statistics.reusedTokens < 450) throw new Error("the second call reused nothing of the system prompt");
    seconds.push(second.firstTokenMs);
  }
  const ratio = median(firsts) / median(seconds);
  say(`bench: first token after 500 tokens of system prompt: ${ratio.toFixed(1)} times sooner at the second call`);
  return [
    { name: "runtime.system_prompt.first_call", value: median(firsts), unit: "ms" },
    { name: "runtime.system_prompt.second_call", value: median(seconds), unit: "ms" },
    { name: "runtime.system_prompt.sooner", value: ratio, unit: "ratio", budget: reuseBudget },
  ];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
