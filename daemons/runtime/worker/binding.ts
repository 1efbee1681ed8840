/**
 * node-llama-cpp ships the addon (`@node-llama-cpp/linux-x64`) and JavaScript around it. To a first answer the
 * JavaScript takes 740 ms and 127 MB natively (ten times the time under emulation, on the boot's critical path) and
 * starts a second Node; the addon alone 70 to 90 ms and 64 MB. This file is the list of what is used of it; both
 * packages are pinned to one version.
 */
import { createRequire } from "node:module";

/**
 * The part of node-llama-cpp's native binding that a worker uses.
 *
 * The binding is called directly: node-llama-cpp's own JavaScript takes 250 ms to load, starts a second Node to try the
 * binding, and holds 60 MB (native figures; ten times the time under emulation), which the boot of a machine would
 * pay each time. Loading the binding takes 30 ms. Its version is pinned with the package's.
 */
export interface Binding {
  /** Level 2 = errors. */
  setLogger(logger: (level: number, message: string) => void): void;
  setLoggerLogLevel(level: number): void;
  /** Loads the ggml back end in `folder` that suits this processor best. */
  loadBackends(folder: string): void;
  init(): Promise<void>;
  /** Cores that do arithmetic: real ones, not their hyper-threads. */
  getMathCores(): number;
  readonly AddonModel: new (
    path: string,
    options: {
      addonExports: Binding;
      gpuLayers: number;
      useMmap: boolean;
      checkTensors: boolean;
    },
  ) => Model;
  readonly AddonContext: new (
    model: Model,
    options: {
      /** Tokens of all sequences together. */
      contextSize: number;
      batchSize: number;
      sequences: number;
      threads: number;
      flashAttention: "auto";
      embeddings: boolean;
    },
  ) => Context;
  readonly AddonGrammar: new (gbnf: string, options: { addonExports: Binding; rootRuleName: string }) => Grammar;
  readonly AddonGrammarEvaluationState: new (model: Model, grammar: Grammar) => GrammarState;
  readonly AddonSampler: new (model: Model) => Sampler;
  readonly AddonJinjaRenderer: new (template: string) => { render(items: Record<string, unknown>): string };
}

export interface Model {
  init(): Promise<boolean>;
  tokenize(text: string, withControlTokens: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, withControlTokens: boolean): string;
  getTrainContextSize(): number;
  getTotalParameters(): number;
  tokenBos(): number;
  tokenEos(): number;
  getTokenString(token: number): string;
  isEogToken(token: number): boolean;
  shouldPrependBosToken(): boolean;
  shouldAppendEosToken(): boolean;
}

export interface Context {
  init(): Promise<boolean>;
  getContextSize(): number;
  initBatch(size: number): void;
  /** Returns where in the batch the logits asked for will be. */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logitsAt: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  /** The next token, or -1 when the grammar leaves none. */
  sampleToken(logitsAt: number, sampler: Sampler): Promise<number>;
  /** Forgets positions from `start` to before `end` (-1 = the last). False when this model cannot forget a part. */
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  disposeSequence(sequence: number): void;
  /** Position of the first token that is still held; above 0 when a sliding window has left the beginning behind. */
  getSequenceKvCacheMinPosition(sequence: number): number;
  /** Makes `target` hold what `source` does. */
  copySequenceStateFromOtherSequence(target: number, source: number): Promise<number>;
  setThreads(threads: number): void;
  /** The vector of the text that was decoded last in sequence 0: pooled as the model says, else its last token's. */
  getEmbedding(tokens: number): Float64Array;
}

export interface Sampler {
  applyConfig(config: {
    temperature: number;
    topK: number;
    topP: number;
    minP: number;
    seed: number;
    grammarEvaluationState?: GrammarState;
  }): void;
  dispose(): void;
}

declare const brand: unique symbol;
interface Grammar {
  readonly [brand]: "grammar";
}
interface GrammarState {
  readonly [brand]: "grammar state";
}

/** Loads the binding and the best back end from `folder`; `log` gets llama.cpp's warnings and errors. */
export async function loadBinding(folder: string, log: (message: string) => void): Promise<Binding> {
  const binding = createRequire(import.meta.url)(`${folder}/llama-addon.node`) as Binding;
  binding.setLoggerLogLevel(2);
  binding.setLogger((_, message) => log(message.trimEnd()));
  binding.loadBackends(folder);
  await binding.init();
  return binding;
}
