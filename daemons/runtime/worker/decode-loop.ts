/**
 * One loop decodes for all answers of a model. Each round is one batch: the next token of every answer, and as much of
 * the prompts as takes a quarter of a second alone, or 60 ms beside answers; so a long prompt holds nobody up, and
 * whoever leaves is gone within a token.
 *
 * Small quantised batches are not all alike. With q8_0 weights a batch of two tokens takes two to four times as long as
 * one of one, so that four streams are hardly faster than one (1.15 times on two cores); with q4_0, which llama.cpp
 * repacks, they are 2.4 times as fast.
 */
import type { Context } from "./binding.ts";
import type { Running } from "./generation.ts";
import type { Sequences } from "./sequences.ts";

/**
 * The one loop that decodes: each round one batch, with the next token of every answer and as much of the prompts as there
 * is room and time for. Nothing else touches the context.
 */
export interface DecodeLoop {
  /** Answers in the next free sequence. */
  add(running: Running): void;
  /** Looks again at what is paused or aborted. */
  changed(): void;
  /** Runs `act` between two batches. */
  between<T>(act: () => Promise<T>): Promise<T>;
  /** Whether it may decode: it waits when not. */
  allow(allowed: boolean): void;
}

/** A prompt is read in batches of about this time, ms: an abort waits for the batch in flight, and so do other answers. */
const aloneMs = 250;
const besideOthersMs = 60;

/** Tokens of a prompt that are read at once at least, and before it is known how long they take. */
const chunkMin = 32;

export function decodeLoop(context: Context, sequences: Sequences, batchTokens: number): DecodeLoop {
  const acts: (() => Promise<void>)[] = [];
  const answers = openAnswers(sequences);
  let turning = false;
  let allowed = true;
  /** Time of a prompt's token, ms, of late. */
  let tokenMs: number | undefined;

  const decode = async (parts: readonly BatchPart[]) => {
    const started = performance.now();
    const total = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    context.initBatch(total);
    const logitsAt = parts.map(({ each, tokens, ends }) => {
      const last = ends ? Uint32Array.of(tokens.length - 1) : new Uint32Array(0);
      return context.addToBatch(each.sequence?.id ?? 0, each.sequence?.length ?? 0, tokens, last)[0];
    });
    await context.decodeBatch();
    for (const { each, tokens } of parts) each.sequence?.add(tokens);
    if (total >= chunkMin) tokenMs = (performance.now() - started) / total;
    await Promise.all(parts.map((part, at) => choose(part, logitsAt[at])));
  };

  const choose = async ({ each }: BatchPart, logitsAt: number | undefined) => {
    if (logitsAt === undefined) return;
    try {
      const token = await context.sampleToken(logitsAt, each.sampler);
      if (token < 0) throw new Error("the grammar leaves the model no token to go on with");
      if (!each.aborted && each.take(token)) answers.end(each);
    } catch (error) {
      answers.fail(each, error);
    }
  };

  /** One round. False when there is nothing to do. */
  const round = async (): Promise<boolean> => {
    const act = acts.shift();
    if (act !== undefined) {
      await act();
      return true;
    }
    answers.endAborted();
    if (!allowed) return false;
    await answers.admit();
    const parts = compose(answers.running(), batchTokens, tokenMs);
    if (parts.length === 0) return acts.length > 0;
    await decode(parts).catch((error) => {
      for (const { each } of parts) if (answers.running().includes(each)) answers.fail(each, error);
    });
    return true;
  };

  const turn = async () => {
    if (turning) return;
    turning = true;
    try {
      while (await round());
    } finally {
      turning = false;
    }
  };

  return {
    add(each) {
      answers.add(each);
      turn();
    },
    changed: () => void turn(),
    between<T>(act: () => Promise<T>) {
      const settled = Promise.withResolvers<T>();
      acts.push(() => act().then(settled.resolve, settled.reject));
      turn();
      return settled.promise;
    },
    allow(now) {
      allowed = now;
      turn();
    },
  };
}

/** The answers that are decoded, and those that wait for a sequence. */
function openAnswers(sequences: Sequences) {
  const waiting: Running[] = [];
  let running: Running[] = [];

  const release = (each: Running) => {
    running = running.filter((other) => other !== each);
    if (each.sequence !== undefined) sequences.free(each.sequence);
  };
  const end = (each: Running) => {
    release(each);
    each.finish();
  };

  return {
    running: (): readonly Running[] => running,
    add: (each: Running) => waiting.push(each),
    end,
    fail(each: Running, error: unknown) {
      // What a failed batch left behind is not known.
      each.sequence?.drop();
      release(each);
      each.fail(error);
    },
    endAborted() {
      for (const each of running.filter(({ aborted }) => aborted)) end(each);
      for (const each of waiting.filter(({ aborted }) => aborted)) {
        waiting.splice(waiting.indexOf(each), 1);
        each.finish();
      }
    },
    /** Gives free sequences to those that wait, in order. */
    async admit() {
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        const sequence = await sequences.take(next.prompt.tokens);
        if (sequence === undefined) return;
        waiting.shift();
        next.begin(sequence);
        running.push(next);
      }
    },
  };
}

/**
 * The parts of the next batch: every answer's token first, then prompts in the order in which they came, as much as
 * there is time for when a token takes `tokenMs`.
 */
function compose(running: readonly Running[], batchTokens: number, tokenMs: number | undefined): BatchPart[] {
  const ready = running.filter(({ paused }) => !paused);
  const answers = ready.filter(({ reading }) => !reading);
  const parts: BatchPart[] = answers.map((each) => ({ each, tokens: each.next(1), ends: true }));
  const time = answers.length > 0 ? besideOthersMs : aloneMs;
  const chunk = tokenMs === undefined ? chunkMin * 4 : Math.max(chunkMin, Math.floor(time / tokenMs));
  let room = Math.min(batchTokens - parts.length, chunk);
  for (const each of ready.filter(({ reading }) => reading)) {
    if (room <= 0) break;
    // In equal parts: a small rest would take a batch of its own.
    const held = each.sequence?.length ?? 0;
    const left = each.prompt.tokens.length - held;
    const tokens = each.next(Math.ceil(left / Math.ceil(left / room)));
    room -= tokens.length;
    parts.push({ each, tokens, ends: tokens.length === left });
  }
  // Neighbouring sequences are decoded together, in ascending order.
  return parts.sort((a, b) => (a.each.sequence?.id ?? 0) - (b.each.sequence?.id ?? 0));
}

interface BatchPart {
  readonly each: Running;
  readonly tokens: Uint32Array;
  /** The batch has its last tokens: the next one is chosen after it. */
  readonly ends: boolean;
}
