import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Measure } from "../row.ts";

const program = "llama-server";
const port = 18_437;
const startTimeoutMs = 60_000;
const rounds = 3;

interface ServerBench {
  readonly modelPath: string;
  readonly threads: number;
  /** Folders of programs, as in PATH. */
  readonly searchPath: string;
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly say: (line: string) => void;
}

/** What `llama-server` says of one completion. */
interface Completion {
  readonly timings: { readonly prompt_per_second: number; readonly predicted_per_second: number };
}

/** The same by llama.cpp's own server over HTTP, as it times itself; nothing where it is not installed. */
export async function measureServer(bench: ServerBench): Promise<readonly Measure[]> {
  const path = bench.searchPath
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find(existsSync);
  if (path === undefined) {
    bench.say(`bench: no ${program} in PATH: not compared with llama.cpp's own server`);
    return [];
  }
  const words = ["-m", bench.modelPath, "-t", String(bench.threads), "-c", "4096", "-np", "1", "--port", String(port)];
  const child = spawn(path, [...words, "--host", "127.0.0.1"], { stdio: "ignore" });
  try {
    await healthy();
    let prompt = 0;
    let answer = 0;
    for (let round = 0; round < rounds; round++) {
      const { timings } = await complete(bench, round);
      prompt = Math.max(prompt, timings.prompt_per_second);
      answer = Math.max(answer, timings.predicted_per_second);
    }
    return [
      { name: "llama_server.prompt", value: prompt, unit: "per_s" },
      { name: "llama_server.answer", value: answer, unit: "per_s" },
    ];
  } finally {
    child.kill("SIGKILL");
  }
}

async function healthy(): Promise<void> {
  const until = performance.now() + startTimeoutMs;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
    if (answer?.ok) return;
    if (performance.now() > until) throw new Error(`${program} does not answer at port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function complete({ promptTokens, answerTokens }: ServerBench, round: number): Promise<Completion> {
  // llama.cpp's server takes a prompt as tokens: the model's own first 300 are bytes and marks.
  const tokens = Array.from({ length: promptTokens }, (_, at) => 300 + ((round * 7919 + at * 104729) % 200));
  const body = { prompt: tokens, n_predict: answerTokens, cache_prompt: false, seed: round, temperature: 0.8 };
  const answer = await fetch(`http://127.0.0.1:${port}/completion`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${program} answers ${answer.status}`);
  return (await answer.json()) as Completion;
}
