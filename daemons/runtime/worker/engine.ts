import type {
  Chat,
  Counted,
  Embedded,
  Embedding,
  Generated,
  Generation,
  LoadedFacts,
  WorkerSetup,
} from "../between/index.ts";
import type { Binding, Context, Model } from "./binding.ts";
import { type DecodeLoop, decodeLoop } from "./decode-loop.ts";
import { embedTexts } from "./embedding.ts";
import { type Running, startAnswer } from "./generation.ts";
import { openPrompter } from "./prompt.ts";
import { Refusal } from "./refusal.ts";
import { openSequences, type Sequences } from "./sequences.ts";

/** An answer that can be told to stop, and to wait until its caller has read what there is. */
export interface AnswerControl {
  readonly generated: Promise<Generated>;
  abort(): void;
  pause(paused: boolean): void;
}

/** A loaded model that answers several prompts at a time. */
export interface Engine {
  readonly loaded: LoadedFacts;
  /** Answers; `write` gets the text as it comes. Throws a Refusal when it is not for this model. */
  generate(generation: Generation, write: (text: string) => void): AnswerControl;
  embed(embedding: Embedding): Promise<Embedded>;
  count(chat: Chat): Counted;
  /** Resolves when no batch with more threads is in flight; 0 waits until there are threads again. */
  setThreads(threads: number): Promise<void>;
  /** Milliseconds per generated token with `threads`. */
  measure(threads: number): Promise<number>;
}

/** Loads the model. Throws when llama.cpp refuses it; `tell` hears of what it bears. */
export async function openEngine(
  binding: Binding,
  setup: WorkerSetup,
  tell: (message: string) => void = () => {},
): Promise<Engine> {
  const started = performance.now();
  const { sequences: sequenceCount, contextTokens: wanted } = setup;
  const model = new binding.AddonModel(setup.modelPath, {
    addonExports: binding,
    gpuLayers: setup.gpuLayers,
    useMmap: true,
    checkTensors: false,
  });
  if (!(await model.init())) throw new Error("llama.cpp does not load it");
  const context = new binding.AddonContext(model, {
    contextSize: wanted * sequenceCount,
    batchSize: Math.min(setup.batchTokens, wanted * sequenceCount),
    sequences: sequenceCount,
    threads: Math.max(1, setup.threads),
    flashAttention: "auto",
    embeddings: setup.kind === "embedding",
  });
  if (!(await context.init())) {
    throw new Error(`no memory for a context of ${sequenceCount} x ${wanted} tokens`);
  }
  const contextTokens = Math.min(wanted, Math.floor(context.getContextSize() / sequenceCount));
  const batchTokens = Math.min(setup.batchTokens, contextTokens);
  const sequences = openSequences(context, sequenceCount);
  const loop = decodeLoop(context, sequences, batchTokens);
  const loadMs = Math.round(performance.now() - started);
  const loaded = { parameters: model.getTotalParameters(), contextTokens, sequences: sequenceCount, loadMs };
  // One that makes vectors is given no conversations.
  const template = setup.kind === "embedding" ? "" : setup.chatTemplate;
  const prompter = openPrompter(binding, model, template, contextTokens, tell);
  let threadsNow = Math.max(1, setup.threads);

  const useThreads = async (threads: number) => {
    if (threads > 0) {
      context.setThreads(threads);
      threadsNow = threads;
    }
    loop.allow(threads > 0);
  };

  return {
    loaded,
    generate(generation, write) {
      if (setup.kind === "embedding") throw notFor("generate", "it makes vectors only");
      const prompt = prompter.prompt(generation, generation.maxTokens);
      if (prompt.tokens.length === 0) throw new Refusal("INVALID_ARGUMENT", "the prompt has no tokens");
      const most = Math.min(generation.maxTokens, contextTokens - prompt.tokens.length);
      const { running, generated } = startAnswer({ binding, model, generation, prompt, most, write });
      loop.add(running);
      return { generated, ...control(running, loop) };
    },
    embed(embedding) {
      if (setup.kind !== "embedding") throw notFor("embed", "it generates text");
      return loop.between(() => embedTexts(model, context, embedding, { most: batchTokens, endToken: setup.endToken }));
    },
    count: (chat) => ({ tokens: prompter.count(chat), contextTokens }),
    setThreads: (threads) => loop.between(() => useThreads(threads)),
    measure: (threads) =>
      loop.between(async () => {
        try {
          return await msPerToken(context, sequences, model, threads);
        } finally {
          context.setThreads(threadsNow);
        }
      }),
  };
}

function control(running: Running, loop: DecodeLoop): Omit<AnswerControl, "generated"> {
  return {
    abort() {
      running.aborted = true;
      loop.changed();
    },
    pause(paused) {
      running.paused = paused;
      loop.changed();
    },
  };
}

/** Decodes that are timed, after as many for warming up. */
const measuredTokens = 16;

async function msPerToken(context: Context, sequences: Sequences, model: Model, threads: number): Promise<number> {
  const token = Uint32Array.of(Math.max(0, model.tokenBos()));
  const sequence = await sequences.take(token);
  if (sequence === undefined) throw new Refusal("FAILED_PRECONDITION", "all sequences are in use");
  sequence.drop();
  context.setThreads(threads);
  let started = 0;
  try {
    for (let at = -measuredTokens; at < measuredTokens; at++) {
      if (at === 0) started = performance.now();
      context.initBatch(1);
      context.addToBatch(sequence.id, at + measuredTokens, token, Uint32Array.of(0));
      await context.decodeBatch();
    }
    return (performance.now() - started) / measuredTokens;
  } finally {
    sequence.drop();
    sequences.free(sequence);
  }
}

function notFor(act: string, reason: string): Refusal {
  return new Refusal("INVALID_ARGUMENT", `this model cannot ${act}: ${reason}`);
}
