import type { Generated, Generation, Stop } from "../between/index.ts";
import type { Binding, Model, Sampler } from "./binding.ts";
import type { Prompt } from "./prompt.ts";
import { openSampler } from "./sampler.ts";
import type { Sequence } from "./sequences.ts";
import { stopText } from "./stop-text.ts";
import { textStream } from "./text-stream.ts";

/** One answer on its way: what is to be decoded next, and what becomes of the tokens that are chosen. */
export interface Running {
  readonly prompt: Prompt;
  readonly sampler: Sampler;
  /** Set by the loop while it is being answered. */
  sequence: Sequence | undefined;
  /** The caller does not keep up: it waits, in its sequence. */
  paused: boolean;
  aborted: boolean;
  /** Still reading its prompt. */
  readonly reading: boolean;
  /** To be called when it gets its sequence. */
  begin(sequence: Sequence): void;
  /** At most `most` tokens to decode next: of the prompt, or the one chosen last. */
  next(most: number): Uint32Array;
  /** Takes the token that was chosen after all was decoded; true when the answer is complete. */
  take(token: number): boolean;
  /** Writes what was held back, ends the sampler, and settles the call. */
  finish(): void;
  fail(error: unknown): void;
}

interface Answering {
  readonly binding: Binding;
  readonly model: Model;
  readonly generation: Generation;
  readonly prompt: Prompt;
  /** Tokens the answer may have. */
  readonly most: number;
  readonly write: (text: string) => void;
}

/** An answer and the promise of its end. */
export function startAnswer(answering: Answering): { running: Running; generated: Promise<Generated> } {
  const { binding, model, generation, prompt, most, write } = answering;
  const settled = Promise.withResolvers<Generated>();
  const sampler = openSampler(binding, model, generation);
  const stops = stopText(generation.stop, write);
  const text = textStream((tokens) => model.detokenize(tokens, false), stops.add);
  const chosen = new Uint32Array(1);
  let stop: Stop = "abort";
  let count = 0;
  let reusedTokens = 0;
  let begunAt = 0;
  let firstAt = 0;

  const running: Running = {
    prompt,
    sampler,
    sequence: undefined,
    paused: false,
    aborted: false,
    get reading() {
      return count === 0;
    },
    begin(sequence) {
      running.sequence = sequence;
      reusedTokens = sequence.length;
      begunAt = performance.now();
    },
    next(limit) {
      if (count > 0) return chosen;
      const from = running.sequence?.length ?? 0;
      return prompt.tokens.subarray(from, from + limit);
    },
    take(token) {
      if (count === 0) firstAt = performance.now();
      if (model.isEogToken(token)) {
        stop = "end";
        return true;
      }
      chosen[0] = token;
      count++;
      text.add(token);
      if (stops.stopped) stop = "stop";
      else if (count >= most) stop = "length";
      else return false;
      return true;
    },
    finish() {
      text.end();
      stops.end();
      sampler.dispose();
      const now = performance.now();
      settled.resolve({
        promptTokens: prompt.tokens.length,
        reusedTokens,
        answerTokens: count,
        droppedTokens: prompt.droppedTokens,
        stop: running.aborted ? "abort" : stop,
        promptMs: begunAt === 0 ? 0 : (firstAt || now) - begunAt,
        answerMs: firstAt === 0 ? 0 : now - firstAt,
      });
    },
    fail(error) {
      sampler.dispose();
      settled.reject(error);
    },
  };
  return { running, generated: settled.promise };
}
