import type { Clock } from "#lib/clock";
import { dataNote, markData } from "#lib/data/data-marks";
import { AiosError, type Code } from "#lib/errors";
import { beginning } from "#lib/text";
import type { Paid, PaidPiece } from "./attempt.ts";
import { cacheKey, openCache, ttlOf } from "./cache.ts";
import type { Lane } from "./lane.ts";
import type { Asked, Question } from "./question.ts";
import { openQueue, type Place } from "./queue.ts";
import type { GatewaySettings } from "./settings.ts";
import { daysRemaining, type UsageFilter, type UsageStore } from "./usage.ts";

/** An answer as it is given to the caller. */
export interface Given extends Paid {
  readonly latencyMs: number;
  readonly fromCache: boolean;
}

type GivenPiece = { readonly text: string } | { readonly given: Given };

interface ProviderState {
  readonly name: string;
  readonly model: string;
  readonly monthlyBudgetUsd: number;
  readonly usedUsd: number;
  readonly hasKey: boolean;
  readonly state: string;
  readonly requestsLastMinute: number;
  readonly rateLimitRpm: number;
}

export interface BudgetState {
  readonly providers: readonly ProviderState[];
  readonly daysRemaining: number;
  /** The amount that may be spent a day until the month ends, US dollars. */
  readonly dailyRateUsd: number;
  /** The budget of every provider that has a key is spent. */
  readonly exceeded: boolean;
}

export interface Gateway {
  /**
   * Asks the preferred provider, else the first in order that can be asked; where fallback is allowed, the next when one
   * fails.
   * Throws FAILED_PRECONDITION when none is configured, RESOURCE_EXHAUSTED when budgets or rates are used up,
   * UNAVAILABLE when none answers; and what else the last of them said.
   */
  ask(question: Question, asked: Asked, signal: AbortSignal): Promise<Given>;
  /** The same, with the text as it comes. When it breaks off no other provider is asked: text has been given. */
  stream(question: Question, asked: Asked, signal: AbortSignal): AsyncIterable<GivenPiece>;
  budget(): BudgetState;
  usage(filter: UsageFilter): ReturnType<UsageStore["find"]>;
}

/** How long a queued question waits where nobody can say when a provider is back. */
const queueWaitMs = 5_000;

export function openGateway(
  lanes: readonly Lane[],
  settings: Pick<GatewaySettings, "cache" | "queue">,
  usage: UsageStore,
  clock: Clock,
): Gateway {
  const cache = openCache<Paid>(settings.cache.entriesMax, clock);
  const queue = openQueue(settings.queue.lengthMax, settings.queue.waitMaxMs, clock);

  async function* withQueue(question: Question, asked: Asked, streaming: boolean, signal: AbortSignal) {
    let place: Place | undefined;
    try {
      for (;;) {
        try {
          yield* askInOrder(lanes, question, asked, streaming, signal);
          return;
        } catch (error) {
          if (!asked.queue || signal.aborted || !passes(error)) throw error;
          place ??= queue.enter();
          await place.wait(error.retryAfterMs ?? queueWaitMs, error, signal);
        }
      }
    } finally {
      place?.leave();
    }
  }

  async function* pieces(
    raw: Question,
    asked: Asked,
    streaming: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<GivenPiece> {
    const started = clock.monotonic();
    const latencyMs = () => Math.round(clock.monotonic() - started);
    const question = withMarks(raw);
    const ttlMs = ttlOf(asked, settings.cache);
    const key = cacheKey(question, asked);
    const known = ttlMs > 0 ? cache.get(key) : undefined;
    if (known !== undefined) {
      yield { text: known.text };
      yield { given: { ...known, costUsd: 0, latencyMs: latencyMs(), fromCache: true } };
      return;
    }
    for await (const piece of withQueue(question, asked, streaming, signal)) {
      if ("text" in piece) {
        yield piece;
        continue;
      }
      const { paid } = piece;
      // A call of a tool is made on what is so now, not on what was so when the same was asked before.
      const whole = paid.finish === "stop" && paid.toolCalls.length === 0 && paid.text.trim() !== "";
      if (whole) cache.set(key, paid, paid.text.length, ttlMs);
      yield { given: { ...paid, latencyMs: latencyMs(), fromCache: false } };
    }
  }

  return {
    stream: (question, asked, signal) => pieces(question, asked, true, signal),
    async ask(question, asked, signal) {
      for await (const piece of pieces(question, asked, false, signal)) if ("given" in piece) return piece.given;
      throw new Error("a lane ended without an answer or an error");
    },
    budget: () => budgetOf(lanes, clock.now()),
    usage: (filter) => usage.find(filter),
  };
}

/** Asks the lanes in order until one answers. Throws the refusals of all as one error. */
async function* askInOrder(
  lanes: readonly Lane[],
  question: Question,
  asked: Asked,
  streaming: boolean,
  signal: AbortSignal,
): AsyncGenerator<PaidPiece> {
  const refusals: AiosError[] = [];
  for (const lane of candidates(lanes, asked)) {
    const refusal = lane.refusal();
    if (refusal !== undefined) {
      refusals.push(refusal);
      continue;
    }
    let begun = false;
    try {
      for await (const piece of lane.ask(question, asked, streaming, signal)) {
        begun = true;
        yield piece;
      }
      return;
    } catch (error) {
      // What is too long for one is too long for the next, and is paid for again.
      const own = error instanceof AiosError && error.code !== "OUT_OF_RANGE";
      if (begun || !asked.allowFallback || !own || signal.aborted) throw error;
      refusals.push(error);
    }
  }
  throw combine(refusals);
}

function budgetOf(lanes: readonly Lane[], now: number): BudgetState {
  const days = daysRemaining(now);
  const open = lanes.filter((lane) => lane.hasKey());
  const left = ({ budget }: Lane) => Math.max(0, budget.monthlyUsd - budget.usedUsd());
  return {
    providers: lanes.map(stateOf),
    daysRemaining: days,
    dailyRateUsd: lanes.reduce((sum, lane) => sum + left(lane), 0) / (days + 1),
    exceeded: open.length > 0 && open.every((lane) => left(lane) === 0 && lane.budget.usedUsd() > 0),
  };
}

/** Marks tools' results as data, and tells the model what that means. */
function withMarks(question: Question): Question {
  if (!question.messages.some(({ role }) => role === "tool")) return question;
  return {
    ...question,
    system: question.system === "" ? dataNote : `${question.system}\n\n${dataNote}`,
    messages: question.messages.map((message) =>
      message.role === "tool" ? { ...message, text: markData(message.tool, message.text) } : message,
    ),
  };
}

/** The lanes to try, in order. Throws INVALID_ARGUMENT for a provider that is none, FAILED_PRECONDITION when none has a key. */
function candidates(lanes: readonly Lane[], { preferred, allowFallback }: Asked): readonly Lane[] {
  if (preferred !== "" && !lanes.some(({ settings }) => settings.name === preferred)) {
    const reason = "no such provider";
    const next = `use one of ${lanes.map(({ settings }) => settings.name).join(", ")}`;
    throw new AiosError("INVALID_ARGUMENT", { act: "ask", object: beginning(preferred, 64), reason, next });
  }
  const wanted = lanes.filter(({ settings }) => preferred === "" || allowFallback || settings.name === preferred);
  const first = ({ settings }: Lane) => Number(settings.name === preferred && !settings.fallbackOnly);
  const keyed = wanted.filter((lane) => lane.hasKey()).toSorted((a, b) => first(b) - first(a));
  if (keyed.length > 0) return keyed;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "ask",
    object: preferred || "a strategic model",
    reason: preferred === "" || allowFallback ? "no strategic provider configured" : "it has no key on this machine",
    next: `give one a key with "aiosctl secrets set ${preferred || "claude"}", or name an endpoint of your own in [gateway.providers] of /etc/aios/config.toml`,
  });
}

/** Which refusal a caller hears of when each provider has another: the one that is most easily mended. */
const easiestFirst: readonly Code[] = [
  "UNAVAILABLE",
  "RESOURCE_EXHAUSTED",
  "ABORTED",
  "OUT_OF_RANGE",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
];

function combine(refusals: readonly AiosError[]): AiosError {
  const [only] = refusals;
  if (only !== undefined && refusals.length === 1) return only;
  const rank = ({ code }: AiosError) =>
    easiestFirst.includes(code) ? easiestFirst.indexOf(code) : easiestFirst.length;
  const best = refusals.toSorted((a, b) => rank(a) - rank(b))[0];
  const waits = refusals.flatMap(({ retryAfterMs }) => retryAfterMs ?? []);
  return new AiosError(
    best?.code ?? "UNAVAILABLE",
    refusals.map(({ message }) => message).join(". "),
    waits.length > 0 ? { retryAfterMs: Math.min(...waits) } : {},
  );
}

/** Whether waiting can help. */
function passes(error: unknown): error is AiosError {
  return error instanceof AiosError && (error.code === "UNAVAILABLE" || error.retryAfterMs !== undefined);
}

function stateOf(lane: Lane): ProviderState {
  const { name, model, rateLimitRpm } = lane.settings;
  return {
    ...{ name, model, rateLimitRpm, hasKey: lane.hasKey(), requestsLastMinute: lane.requestsLastMinute() },
    ...{ monthlyBudgetUsd: lane.budget.monthlyUsd, usedUsd: lane.budget.usedUsd() },
    state: lane.refusal()?.message ?? "ready",
  };
}
