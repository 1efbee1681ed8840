/**
 * For the benchmark of inference: node-llama-cpp by its own interface in a process that does nothing else.
 * Usage: node inference-bare.ts MODEL THREADS cpu|gpu. One JSON message on its IPC channel for each that it is sent.
 */
import { getLlama, LlamaLogLevel, type Token } from "node-llama-cpp";

export interface BareRequest {
  /** A prompt of so many tokens, different for each `seed`. */
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly seed: number;
}

export interface BareReply {
  readonly firstTokenMs: number;
  readonly answerTokens: number;
  readonly answerMs: number;
}

const [, , modelPath = "", threads = "1", device = "cpu"] = process.argv;
const started = performance.now();
const llama = await getLlama({
  build: "never",
  gpu: device === "gpu" ? "auto" : false,
  skipDownload: true,
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.error,
});
const loading = performance.now();
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: 4096,
  sequences: 1,
  batchSize: 512,
  threads: Number(threads),
});
const sequence = context.getSequence();
process.send?.({ startMs: loading - started, loadMs: performance.now() - loading, cores: llama.cpuMathCores });

process.on("disconnect", () => process.exit(0));
process.on("message", async ({ promptTokens, answerTokens, seed }: BareRequest) => {
  const prompt = Array.from({ length: promptTokens }, (_, at) => (300 + ((seed * 7919 + at * 104729) % 200)) as Token);
  await sequence.clearHistory();
  const begun = performance.now();
  let first = 0;
  let last = 0;
  let count = 0;
  let text = "";
  const options = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, seed };
  for await (const token of sequence.evaluate(prompt, options)) {
    text += model.detokenize([token]);
    last = performance.now();
    if (count === 0) first = last;
    count++;
    if (count >= answerTokens) break;
  }
  process.send?.({ firstTokenMs: first - begun, answerTokens: count, answerMs: last - first, characters: text.length });
});
