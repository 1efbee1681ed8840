/**
 * A question to a provider passes a lane. Each provider has one: is it allowed (outbound, key, price), is it time
 * (pause it asked for, breaker, requests a minute), is there money, then up to three tries. Another provider is asked
 * until the first text of a stream has been given away, never after.
 */
import { backoffMs } from "#lib/backoff";
import type { Clock } from "#lib/clock";
import { AiosError, type Code } from "#lib/errors";
import { attempt, type PaidPiece, type Request } from "./attempt.ts";
import { type Breaker, openBreaker } from "./breaker.ts";
import { type Budget, costOf, type Most } from "./budget.ts";
import { type FaultKind, isLoopback, ProviderFault, UnfitAnswer } from "./providers/index.ts";
import type { Asked, Question, Wire } from "./question.ts";
import { openRate } from "./rate.ts";
import type { Secrets } from "./secrets.ts";
import type { GatewaySettings, ProviderSettings } from "./settings.ts";

/** The way to one provider: its key, price, budget, rate, breaker and retries. */
export interface Lane {
  readonly settings: ProviderSettings;
  readonly budget: Budget;
  hasKey(): boolean;
  /** Why it cannot be asked now. An error with `retryAfterMs` is one that time mends. */
  refusal(): AiosError | undefined;
  /** Asks; with `streaming`, the text comes as it is made. Throws AiosError, or the signal's reason. */
  ask(question: Question, asked: Asked, streaming: boolean, signal: AbortSignal): AsyncIterable<PaidPiece>;
  requestsLastMinute(): number;
}

export interface LaneWorld {
  readonly settings: GatewaySettings;
  readonly wire: Wire;
  readonly budget: Budget;
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly random: () => number;
}

/** Between two tries. A provider that asks for a longer pause is left for as long, and the next one is asked. */
const retryFirstMs = 500;
const retryWaitMaxMs = 20_000;

/** The least that a request can cost where it is not free, US dollars. */
const anyCostUsd = 1e-9;

export function openLane(settings: ProviderSettings, world: LaneWorld): Lane {
  const { budget, clock, secrets } = world;
  const { attemptsMax, breakerFailures, breakerPauseMs } = world.settings;
  const breaker = openBreaker(breakerFailures, breakerPauseMs, clock);
  const rate = openRate(settings.rateLimitRpm, clock);
  const standing = () => standingOf(settings, world.settings.allowOutbound, secrets);
  const free = settings.price?.inputUsd === 0 && settings.price.outputUsd === 0;
  let coolUntil = 0;

  /** The error that time mends. */
  const passing = (): AiosError | undefined => {
    const { name, rateLimitRpm } = settings;
    const coolMs = coolUntil - clock.monotonic();
    if (coolMs > 0) return later(name, "UNAVAILABLE", "it asked to be left alone for a while", coolMs);
    const brokenMs = breaker.waitMs();
    if (brokenMs > 0) return later(name, "UNAVAILABLE", "it failed several times in a row and is left alone", brokenMs);
    const rateMs = rate.waitMs();
    const limited = `the ${rateLimitRpm} requests that it may be sent in a minute are sent`;
    return rateMs > 0 ? later(name, "RESOURCE_EXHAUSTED", limited, rateMs) : undefined;
  };
  /** Tries until there is an answer, the fault is one that stays, or text has been given away. */
  async function* tries(first: Request, signal: AbortSignal): AsyncGenerator<PaidPiece> {
    let request = first;
    for (let count = 1; ; count++) {
      signal.throwIfAborted();
      const reservation = budget.reserve(mostOf(request));
      rate.take();
      breaker.begin();
      let begun = false;
      try {
        for await (const piece of attempt(request, world.wire, reservation, signal)) {
          begun = true;
          if ("paid" in piece) breaker.succeeded();
          yield piece;
        }
        return;
      } catch (error) {
        if (!(error instanceof ProviderFault)) throw error;
        note(error, breaker);
        coolUntil = Math.max(coolUntil, clock.monotonic() + (error.retryAfterMs ?? 0));
        if (begun) throw callerError(settings.name, error);
        if (error.kind === "learned") count -= 1;
        else if (error instanceof UnfitAnswer && request === first) request = correct(first, error);
        else {
          const backMs = backoffMs(count, retryFirstMs, retryWaitMaxMs, world.random);
          const waitMs = Math.max(error.retryAfterMs ?? 0, backMs);
          if (!error.passing || count >= attemptsMax || waitMs > retryWaitMaxMs)
            throw callerError(settings.name, error);
          await clock.sleep(Math.ceil(waitMs) + 1, signal);
        }
        if (passing() ?? budget.refusal(mostOf(request).costUsd)) throw callerError(settings.name, error);
      } finally {
        breaker.release();
      }
    }
  }

  return {
    settings,
    budget,
    hasKey: () => !settings.needsKey || secrets.has(settings.name),
    refusal: () => standing() ?? passing() ?? budget.refusal(free ? 0 : anyCostUsd),
    requestsLastMinute: rate.lastMinute,
    async *ask(question, asked, streaming, signal) {
      const { name, model, needsKey, price = { inputUsd: 0, outputUsd: 0 } } = settings;
      const maxTokens = Math.min(question.maxTokens || settings.maxTokens, settings.maxTokens);
      const refusal = standing() ?? passing();
      if (refusal !== undefined) throw refusal;
      const key = needsKey ? secrets.get(name) : undefined;
      const inputTokens = inputTokensMax(question);
      const request = { question, asked, streaming, provider: name, model, price, key, maxTokens, inputTokens };
      try {
        yield* tries(request, signal);
      } finally {
        budget.tell();
      }
    },
  };
}

/** The same question with what was answered and what is wrong with it. */
function correct(request: Request, { text, wrong }: UnfitAnswer): Request {
  const { messages } = request.question;
  const correction = { role: "user", text: `That is not what was asked for: ${wrong}. Answer again.` } as const;
  const said = { role: "assistant", text, toolCalls: [] } as const;
  const question = { ...request.question, messages: [...messages, said, correction] };
  return { ...request, question, inputTokens: inputTokensMax(question) };
}

function mostOf({ asked: { agent, taskId }, model, price, inputTokens, maxTokens }: Request): Most {
  const costUsd = costOf(price, inputTokens, maxTokens);
  return { model, inputTokens, outputTokens: maxTokens, costUsd, agent, taskId };
}

/**
 * Tokens that a provider adds of its own where it is to call tools or to keep to a schema; Anthropic tells of up to
 * 700.
 */
const instructionTokensMax = 2_048;

/** No token is less than a byte of what is said, and a schema may be told twice. */
function inputTokensMax(question: Question): number {
  const { tools, jsonSchema } = question;
  const added = tools.length > 0 || jsonSchema !== undefined ? instructionTokensMax : 0;
  return bytesOf(question) + (jsonSchema === undefined ? 0 : bytesOf(jsonSchema)) + added;
}

const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));

/** The error that only a person can mend. */
function standingOf(provider: ProviderSettings, allowOutbound: boolean, secrets: Secrets): AiosError | undefined {
  const { name, model, baseUrl, inside, needsKey, price } = provider;
  const refuse = (reason: string, next: string) =>
    new AiosError("FAILED_PRECONDITION", { act: "ask", object: name, reason, next });
  if (!allowOutbound && !inside && !isLoopback(baseUrl))
    return refuse(
      "nothing may leave this machine",
      `set allow_outbound in [network] of /etc/aios/config.toml, or "inside" for a provider of your own network`,
    );
  if (needsKey && !secrets.has(name))
    return refuse("it has no key on this machine", `give it one with "aiosctl secrets set ${name}"`);
  if (price === undefined)
    return refuse(`the price of ${model} is not known`, "add it to [gateway.prices] in /etc/aios/config.toml");
  return undefined;
}

function later(object: string, code: Code, reason: string, retryAfterMs: number): AiosError {
  const next = "try again later, or allow another provider";
  return new AiosError(code, { act: "ask", object, reason, next }, { retryAfterMs });
}

/** Being asked to slow down, and refusing a key or a request, are signs of life. */
const alive: readonly FaultKind[] = ["limited", "key", "credit", "model", "request", "learned", "unfit", "short"];

function note(fault: ProviderFault, breaker: Breaker): void {
  if (alive.includes(fault.kind)) breaker.succeeded();
  else breaker.failed();
}

/** A fault as a client sees it. */
function callerError(name: string, { kind, message, retryAfterMs }: ProviderFault): AiosError {
  const fault = (reason: string, next: string) => ({ act: "ask", object: name, reason, next });
  if (kind === "key")
    return new AiosError("FAILED_PRECONDITION", fault(message, `set its key with "aiosctl secrets set ${name}"`));
  if (kind === "credit")
    return new AiosError("FAILED_PRECONDITION", fault(message, "give its account credit, or allow another provider"));
  if (kind === "model")
    return new AiosError(
      "FAILED_PRECONDITION",
      fault(message, "name a model that it has, and its base_url, in /etc/aios/config.toml"),
    );
  if (kind === "short") return new AiosError("OUT_OF_RANGE", fault(message, "raise max_tokens or ask for less"));
  if (kind === "request") return new AiosError("INVALID_ARGUMENT", fault(message, "correct the request"));
  if (kind === "unfit") return new AiosError("ABORTED", fault(message, "ask again or loosen json_schema"));
  if (kind === "large") return new AiosError("OUT_OF_RANGE", fault(message, "ask for a shorter answer"));
  const code = kind === "limited" ? "RESOURCE_EXHAUSTED" : "UNAVAILABLE";
  return new AiosError(code, fault(message, "try again later, or allow another provider"), {
    retryAfterMs: retryAfterMs ?? retryFirstMs,
  });
}
