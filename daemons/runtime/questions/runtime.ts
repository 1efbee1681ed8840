import type { AnswerCheck } from "#lib/answer-check";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Counted, Embedded, Generated, Generation, ModelPool, ModelState, Worker } from "../between/index.ts";
import { type Ask, type Asker, checkAsk, checkTexts, conversation } from "./ask.ts";
import { openCalls } from "./calls.ts";
import { channel } from "./channel.ts";
import { metricsText, openMetrics } from "./metrics.ts";
import { gauges } from "./metrics-gauges.ts";
import { schemas } from "./schema.ts";

/** The outcome of a call beside its text. */
export interface Outcome extends Generated {
  readonly model: string;
  /** Waiting for its turn and for the model to be loaded. */
  readonly queueMs: number;
}

interface Answer extends Outcome {
  readonly text: string;
  /** Of prompt and answer, of all tries together. */
  readonly tokens: number;
  readonly latencyMs: number;
}

interface Vectors extends Embedded {
  readonly model: string;
}

export interface Runtime {
  /** Resolves when the operational model has answered its test prompt. */
  readonly ready: Promise<void>;
  infer(ask: Ask, signal: AbortSignal): Promise<Answer>;
  /**
   * The answer's text as it is generated; returns what came of it. Throws at its end when the answer does not fit the
   * schema. Generation waits for a caller that reads slowly, and ends for one that does not read at all.
   */
  stream(ask: Ask, signal: AbortSignal): AsyncGenerator<string, Outcome>;
  /** Tokens of the prompt. */
  count(ask: Ask, signal: AbortSignal): Promise<Counted & { readonly model: string }>;
  /** Vectors of texts; `model` empty = the embedding model. */
  embed(
    asked: Asker & { readonly texts: readonly string[]; readonly model: string; readonly truncate: boolean },
    signal: AbortSignal,
  ): Promise<Vectors>;
  models(): ModelState[];
  /** Calls that wait for their turn, of all models. */
  waiting(): number;
  /** Prometheus' text format. */
  metrics(): string;
  uptimeMs(): number;
  stop(): void;
}

/** An answer that does not fit its schema is asked for once more. */
const triesMax = 2;

const topKDefault = 40;
/** At this temperature less likely answers come, too. */
const freeTemperature = 0.8;

/** Characters of an answer that may be unread before generation waits for the caller. */
const unreadMax = 16_384;

/** A caller that reads nothing for this long, with this much unread, is taken to have gone. */
const unreadTimeoutMs = 30_000;

/** Texts that are embedded before it is looked again whether the caller is still there. */
const textsAtOnce = 8;

export function openRuntime(pool: ModelPool<Worker>, clock: Clock): Runtime {
  const started = clock.monotonic();
  const metrics = openMetrics();
  const calls = openCalls(pool, metrics, clock);
  const prepare = openPreparation(pool);

  return {
    ready: pool.ready,
    async infer(ask, signal) {
      const begun = clock.monotonic();
      const { model, generation, check } = await prepare(ask);
      return calls.run(model, ask, signal, async (worker, queueMs) => {
        let tokens = 0;
        for (let tries = 1; ; tries++) {
          let text = "";
          const hear = (part: string) => {
            text += part;
            return undefined;
          };
          const generated = await worker.generate(again(generation, tries), hear, signal);
          metrics.generated(model, generated);
          signal.throwIfAborted();
          tokens += generated.promptTokens + generated.answerTokens;
          const wrong = check?.(text);
          if (wrong === undefined) {
            const latencyMs = Math.round(clock.monotonic() - begun);
            return { ...generated, text, model, queueMs, tokens, latencyMs };
          }
          if (generated.stop !== "end" || tries === triesMax) throw unfit(model, generated, wrong);
        }
      });
    },
    async *stream(ask, signal) {
      const { model, generation, check } = await prepare(ask);
      const leaving = new AbortController();
      const either = AbortSignal.any([signal, leaving.signal]);
      const { parts, write, close } = patientChannel(clock, leaving);
      const answering = calls
        .run(model, ask, either, async (worker, queueMs) => {
          const generated = await worker.generate(generation, write, either);
          metrics.generated(model, generated);
          either.throwIfAborted();
          return { ...generated, model, queueMs };
        })
        .finally(close);
      answering.catch(() => {});
      try {
        let text = "";
        for await (const part of parts) {
          if (check !== undefined) text += part;
          yield part;
        }
        const outcome = await answering;
        const wrong = check?.(text);
        if (wrong !== undefined) throw unfit(model, outcome, wrong);
        return outcome;
      } finally {
        leaving.abort(new AiosError("CANCELLED", "the caller stopped reading"));
      }
    },
    async count(ask, signal) {
      checkAsk(ask);
      const { model } = pool.route(ask);
      const chat = { messages: conversation(ask), truncate: false };
      return { model, ...(await calls.beside(model, signal, (worker) => worker.count(chat))) };
    },
    async embed({ texts, model: wanted, truncate, ...asker }, signal) {
      checkTexts(texts);
      const model = wanted === "" ? pool.embedder() : pool.route({ model: wanted, level: "" }).model;
      return calls.run(model, asker, signal, async (worker) => {
        const embedded = await embedAll(worker, texts, truncate, signal);
        metrics.embedded(model, texts.length, embedded.tokens);
        return { model, ...embedded };
      });
    },
    models: () => pool.models(),
    waiting: () => calls.waiting(),
    metrics: () => metricsText([...metrics.families(), ...gauges(pool.models(), calls.queues())]),
    uptimeMs: () => clock.monotonic() - started,
    stop: () => pool.stop(),
  };
}

interface Prepared {
  readonly model: string;
  readonly generation: Generation;
  readonly check: AnswerCheck | undefined;
}

/** Checks what is asked, and fills in what the caller left open. */
function openPreparation(pool: ModelPool<Worker>): (ask: Ask) => Promise<Prepared> {
  const compiled = schemas();
  return async (ask) => {
    checkAsk(ask);
    const { model, maxTokens, temperature } = pool.route(ask);
    const schema = ask.jsonSchema === "" ? undefined : await compiled(ask.jsonSchema);
    const generation = {
      messages: conversation(ask),
      truncate: ask.truncate,
      maxTokens: ask.maxTokens || maxTokens,
      temperature: ask.temperature ?? temperature,
      topK: ask.topK ?? topKDefault,
      topP: ask.topP ?? 0.95,
      minP: ask.minP ?? 0.05,
      seed: ask.seed ?? Math.floor(Math.random() * 2 ** 32),
      stop: ask.stop,
      grammar: schema?.grammar ?? "",
    };
    return { model, generation, check: schema?.check };
  };
}

async function embedAll(
  worker: Worker,
  texts: readonly string[],
  truncate: boolean,
  signal: AbortSignal,
): Promise<Embedded> {
  const vectors: (readonly number[])[] = [];
  let tokens = 0;
  for (let at = 0; at < texts.length; at += textsAtOnce) {
    signal.throwIfAborted();
    const part = await worker.embed(texts.slice(at, at + textsAtOnce), at, truncate);
    vectors.push(...part.vectors);
    tokens += part.tokens;
  }
  return { vectors, tokens };
}

/** A channel that aborts `leaving` when nothing is read from it for too long. */
function patientChannel(clock: Clock, leaving: AbortController) {
  const { parts, write, close } = channel(unreadMax);
  let watched: Promise<void> | undefined;
  const giveUp = async (full: Promise<void>) => {
    const read = new AbortController();
    full.then(() => read.abort());
    await clock.sleep(unreadTimeoutMs, read.signal);
    const reason = `the caller has read nothing for ${unreadTimeoutMs / 1000} s`;
    leaving.abort(
      new AiosError("ABORTED", { act: "stream", object: "the answer", reason, next: "read, or ask for less" }),
    );
  };
  return {
    parts,
    close,
    write(part: string) {
      const full = write(part);
      if (full !== undefined && full !== watched) giveUp(full).catch(() => {});
      watched = full;
      return full;
    },
  };
}

/** A second try with the same seed, or with the likeliest token alone, would give the same answer. */
function again(generation: Generation, tries: number): Generation {
  if (tries === 1) return generation;
  const { seed, temperature, topK } = generation;
  return {
    ...generation,
    seed: (seed + tries - 1) % 2 ** 32,
    temperature: Math.max(temperature, freeTemperature),
    topK: topK === 1 ? topKDefault : topK,
  };
}

function unfit(model: string, { stop, answerTokens }: Generated, wrong: string): AiosError {
  const cut = stop !== "end";
  const by = stop === "stop" ? "by a stop text" : `after ${answerTokens} tokens`;
  return new AiosError(cut ? "OUT_OF_RANGE" : "ABORTED", {
    act: "ask model",
    object: model,
    reason: cut ? `the answer was cut off ${by}, before its JSON was complete` : wrong,
    next: cut ? "raise max_tokens or ask for less" : "ask again or loosen json_schema",
  });
}
