import { availableParallelism } from "node:os";
import type { Binding, Context, Model, Sampler } from "./binding.ts";
import { chatPieces } from "./chat.ts";
import type { Generated, Generation, Loaded, Stop, WorkerSetup } from "./messages.ts";
import { textStream } from "./text-stream.ts";

/** A loaded model that answers one prompt at a time. */
export interface Engine {
  readonly loaded: Loaded;
  /** Answers; `write` gets the text as it comes. Stops before the next token once `signal` is aborted. */
  generate(generation: Generation, write: (text: string) => void, signal: AbortSignal): Promise<Generated>;
}

/** Prompt tokens read at once. An abort waits for the batch in flight. */
const batchTokens = 512;

/** Below this many parameters a token takes less time than handing work to a second thread. */
const oneThreadParameters = 50_000_000;

/** No token of a vocabulary is longer, bytes: a prompt longer than context × this is refused without being read. */
const tokenBytesMax = 256;

const sequence = 0;

/** Loads the model. Throws when llama.cpp refuses it. */
export async function openEngine(binding: Binding, setup: WorkerSetup): Promise<Engine> {
  const started = performance.now();
  const model = new binding.AddonModel(setup.modelPath, {
    addonExports: binding,
    gpuLayers: 0,
    useMmap: true,
    checkTensors: false,
  });
  if (!(await model.init())) throw new Error("llama.cpp does not load it");
  const trained = model.getTrainContextSize();
  const parameters = model.getTotalParameters();
  const cores = Math.max(1, Math.min(binding.getMathCores(), availableParallelism()));
  const threads = parameters < oneThreadParameters ? 1 : cores;
  const contextSize = trained > 0 ? Math.min(trained, setup.contextTokensMax) : setup.contextTokensMax;
  const context = new binding.AddonContext(model, {
    contextSize,
    batchSize: Math.min(batchTokens, contextSize),
    sequences: 1,
    threads,
    flashAttention: "auto",
  });
  if (!(await context.init())) throw new Error(`no memory for a context of ${contextSize} tokens`);
  const loadMs = Math.round(performance.now() - started);
  const contextTokens = context.getContextSize();
  const tokenise = tokeniser(binding, model, setup.chatTemplate, contextTokens);
  const held = heldTokens(context);

  return {
    loaded: { parameters, contextTokens, threads, loadMs },
    async generate(generation, write, signal) {
      const tokens = tokenise(generation);
      const reusedTokens = held.keep(tokens);
      const logitsAt = await readPrompt(context, held, tokens, signal);
      const most = Math.min(generation.maxTokens, contextTokens - tokens.length);
      const sampler = openSampler(binding, model, generation);
      try {
        const answer = await answerTokens({ context, model, held, sampler, most, write, signal }, logitsAt);
        return { promptTokens: tokens.length, reusedTokens, ...answer };
      } finally {
        sampler.dispose();
      }
    },
  };
}

/** The prompt in the model's chat format as tokens. Throws when it does not fit the context with room for an answer. */
function tokeniser(binding: Binding, model: Model, template: string, contextTokens: number) {
  const renderer = template === "" ? undefined : new binding.AddonJinjaRenderer(template);
  const render = renderer && ((items: Record<string, unknown>) => renderer.render(items));
  const name = (token: number) => (token >= 0 ? model.getTokenString(token) : "");
  const marks = { bos: name(model.tokenBos()), eos: name(model.tokenEos()) };

  return ({ system, prompt }: Generation): Uint32Array => {
    const bytes = Buffer.byteLength(system) + Buffer.byteLength(prompt);
    if (bytes > contextTokens * tokenBytesMax) {
      throw new Error(`the prompt has ${bytes} bytes, which cannot fit the model's context of ${contextTokens} tokens`);
    }
    const pieces = chatPieces(render, marks, system, prompt);
    const tokens = pieces.flatMap(({ text, fromTemplate }) => [...model.tokenize(text, fromTemplate)]);
    if (model.shouldPrependBosToken() && tokens[0] !== model.tokenBos()) tokens.unshift(model.tokenBos());
    if (tokens.length >= contextTokens) {
      throw new Error(
        `the prompt has ${tokens.length} tokens and the model's context ${contextTokens}: shorten the prompt`,
      );
    }
    return Uint32Array.from(tokens);
  };
}

/** The tokens whose keys and values the context holds, so that a prompt with the same beginning need not be read again. */
interface Held {
  readonly length: number;
  /** Forgets what differs from `tokens` and returns how many of them are still held: never all, since the last is sampled from. */
  keep(tokens: Uint32Array): number;
  add(tokens: Uint32Array): void;
  /** Forgets all, when it is not known what the context holds. */
  drop(): void;
}

function heldTokens(context: Context): Held {
  let held: number[] = [];
  return {
    get length() {
      return held.length;
    },
    keep(tokens) {
      let same = 0;
      while (same < tokens.length - 1 && same < held.length && tokens[same] === held[same]) same++;
      if (same < held.length && !context.removeTokenCellsFromSequence(sequence, same, -1)) {
        context.disposeSequence(sequence);
        same = 0;
      }
      held = held.slice(0, same);
      return same;
    },
    add: (tokens) => void held.push(...tokens),
    drop() {
      context.disposeSequence(sequence);
      held = [];
    },
  };
}

/** Reads what is not held of the prompt; returns where its last token's logits are, or undefined when aborted before. */
async function readPrompt(
  context: Context,
  held: Held,
  tokens: Uint32Array,
  signal: AbortSignal,
): Promise<number | undefined> {
  let logitsAt: number | undefined;
  while (held.length < tokens.length) {
    if (signal.aborted) return undefined;
    logitsAt = await decode(context, held, tokens.subarray(held.length, held.length + batchTokens));
  }
  return logitsAt;
}

/** Reads a batch of tokens after those held; returns where its last token's logits are. */
async function decode(context: Context, held: Held, batch: Uint32Array): Promise<number | undefined> {
  context.initBatch(batch.length);
  const [logitsAt] = context.addToBatch(sequence, held.length, batch, Uint32Array.of(batch.length - 1));
  try {
    await context.decodeBatch();
  } catch (error) {
    held.drop();
    throw error;
  }
  held.add(batch);
  return logitsAt;
}

function openSampler(binding: Binding, model: Model, { temperature, grammar }: Generation): Sampler {
  const sampler = new binding.AddonSampler(model);
  const state =
    grammar === ""
      ? undefined
      : new binding.AddonGrammarEvaluationState(
          model,
          new binding.AddonGrammar(grammar, { addonExports: binding, rootRuleName: "root" }),
        );
  sampler.applyConfig({
    temperature,
    topK: 40,
    topP: 0.95,
    minP: 0.05,
    seed: Math.floor(Math.random() * 2 ** 32),
    ...(state !== undefined && { grammarEvaluationState: state }),
  });
  return sampler;
}

interface Answering {
  readonly context: Context;
  readonly model: Model;
  readonly held: Held;
  readonly sampler: Sampler;
  /** Tokens the answer may have. */
  readonly most: number;
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
}

async function answerTokens(
  { context, model, held, sampler, most, write, signal }: Answering,
  promptLogitsAt: number | undefined,
): Promise<{ answerTokens: number; stop: Stop }> {
  const text = textStream((tokens) => model.detokenize(tokens, false), write);
  let logitsAt = promptLogitsAt;
  let stop: Stop = "length";
  let count = 0;
  while (count < most) {
    if (signal.aborted || logitsAt === undefined) {
      stop = "abort";
      break;
    }
    const token = await context.sampleToken(logitsAt, sampler);
    if (token < 0) throw new Error("the grammar leaves the model no token to go on with");
    if (model.isEogToken(token)) {
      stop = "end";
      break;
    }
    count++;
    text.add(token);
    if (count < most) logitsAt = await decode(context, held, Uint32Array.of(token));
  }
  text.end();
  return { answerTokens: count, stop };
}
