import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type AnswerCheck, answerCheck } from "./answer.ts";
import { channel } from "./channel.ts";
import { grammarOf } from "./grammar.ts";
import type { Generated } from "./messages.ts";
import type { Slot, SlotStatus } from "./slot.ts";

/** What a caller asks. Zero and empty mean "as configured" throughout. */
export interface Ask {
  readonly model: string;
  readonly level: string;
  readonly system: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly jsonSchema: string;
}

export interface Answer {
  readonly text: string;
  readonly model: string;
  readonly tokens: number;
  readonly latencyMs: number;
}

export interface Runtime {
  /** Resolves when the operational model has answered its test prompt. */
  readonly ready: Promise<void>;
  infer(ask: Ask, signal: AbortSignal): Promise<Answer>;
  /** The answer's text as it is generated. Rejects at its end when the answer does not fit the schema. */
  stream(ask: Ask, signal: AbortSignal): AsyncIterable<string>;
  models(): SlotStatus[];
  uptimeMs(): number;
  stop(): void;
}

/** The operational model and what it is asked with when the caller does not say. */
export interface Operational {
  readonly slot: Slot;
  readonly maxTokens: number;
  readonly temperature: number;
}

/** Beyond these a parameter is a mistake. */
const maxTokensMax = 1_000_000;
const temperatureMax = 2;

/** An answer that does not fit its schema is asked for once more. */
const triesMax = 2;

/** Levels that this service answers; "strategic" is the gateway's and "reactive" needs no model. */
const levels = ["", "operational", "tactical"];

export function openRuntime(operational: Operational, clock: Clock): Runtime {
  const started = clock.monotonic();

  const prepare = async (ask: Ask) => {
    refuseAbsurd(ask);
    const slot = route(operational.slot, ask);
    const grammar = ask.jsonSchema === "" ? "" : grammarOf(ask.jsonSchema);
    const check = ask.jsonSchema === "" ? undefined : await answerCheck(ask.jsonSchema);
    const generation = {
      system: ask.system,
      prompt: ask.prompt,
      maxTokens: ask.maxTokens || operational.maxTokens,
      temperature: ask.temperature || operational.temperature,
      grammar,
    };
    return { slot, generation, check };
  };

  return {
    ready: operational.slot.ready,
    async infer(ask, signal) {
      const begun = clock.monotonic();
      const { slot, generation, check } = await prepare(ask);
      let tokens = 0;
      for (let tries = 1; ; tries++) {
        let text = "";
        const generated = await slot.generate(generation, (part) => (text += part), signal);
        signal.throwIfAborted();
        tokens += generated.promptTokens + generated.answerTokens;
        const wrong = check?.(text);
        if (wrong === undefined) {
          return { text, model: slot.name, tokens, latencyMs: Math.round(clock.monotonic() - begun) };
        }
        if (generated.stop === "length" || tries === triesMax) throw unfit(slot.name, generated, wrong);
      }
    },
    async *stream(ask, signal) {
      const { slot, generation, check } = await prepare(ask);
      const { parts, write, close } = channel();
      const leaving = new AbortController();
      const either = AbortSignal.any([signal, leaving.signal]);
      const generating = slot.generate(generation, write, either).finally(close);
      generating.catch(() => {});
      try {
        let text = "";
        for await (const part of parts) {
          text += part;
          yield part;
        }
        const generated = await generating;
        signal.throwIfAborted();
        verify(slot.name, generated, check, text);
      } finally {
        leaving.abort(new AiosError("CANCELLED", "the caller stopped reading"));
      }
    },
    models: () => [operational.slot.status()],
    uptimeMs: () => clock.monotonic() - started,
    stop: () => operational.slot.stop(),
  };
}

function verify(model: string, generated: Generated, check: AnswerCheck | undefined, text: string): void {
  const wrong = check?.(text);
  if (wrong !== undefined) throw unfit(model, generated, wrong);
}

/** The slot for what was asked: a model by its name (with or without ".gguf"), else by the level. */
function route(operational: Slot, { model, level }: Ask): Slot {
  if (model !== "" && model !== "auto") {
    if (model.replace(/\.gguf$/i, "") === operational.name) return operational;
    throw new AiosError("NOT_FOUND", {
      act: "ask model",
      object: model,
      reason: "no model of this name is loaded",
      next: `ask "auto" or ${operational.name}`,
    });
  }
  if (!levels.includes(level)) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask level",
      object: level,
      reason: "no local model answers at this level",
      next: 'ask "operational"; strategic questions go to the gateway',
    });
  }
  if (level === "tactical") {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "ask level",
      object: level,
      reason: "this runtime loads the operational model only",
      next: 'ask "operational", or "strategic" at the gateway',
    });
  }
  return operational;
}

function refuseAbsurd({ prompt, maxTokens, temperature }: Ask): void {
  const refuse = (field: string, value: number | string, expected: string) => {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "ask with",
      object: field,
      reason: `${value} is not ${expected}`,
      next: "correct the request",
    });
  };
  if (prompt === "") refuse("prompt", '""', "a question");
  if (maxTokens < 0 || maxTokens > maxTokensMax) refuse("max_tokens", maxTokens, `between 0 and ${maxTokensMax}`);
  if (!(temperature >= 0 && temperature <= temperatureMax)) {
    refuse("temperature", temperature, `between 0 and ${temperatureMax}`);
  }
}

function unfit(model: string, { stop, answerTokens }: Generated, wrong: string): AiosError {
  const cut = stop === "length";
  return new AiosError(cut ? "OUT_OF_RANGE" : "ABORTED", {
    act: "ask model",
    object: model,
    reason: cut ? `the answer was cut off after ${answerTokens} tokens, before its JSON was complete` : wrong,
    next: cut ? "raise max_tokens or ask for less" : "ask again or loosen json_schema",
  });
}
