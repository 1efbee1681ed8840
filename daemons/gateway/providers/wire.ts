import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Finish, Piece, Question, Tokens, ToolCall } from "../question.ts";
import { faultOf, ProviderFault, statusIn } from "./fault.ts";
import type { ToolNames } from "./names.ts";
import { type Patience, patience } from "./transport.ts";

/** Where a provider is reached and which of its models is asked. */
export interface WireSettings {
  readonly model: string;
  readonly baseUrl: string;
  /** Silence after which a request is given up. */
  readonly timeoutMs: number;
  /** OpenAI's own servers take `max_completion_tokens`; others that speak its protocol know `max_tokens`. */
  readonly ownServer: boolean;
}

/** A question on its way: what its answer is read with. */
export interface Asking {
  readonly question: Question;
  readonly maxTokens: number;
  readonly names: ToolNames;
}

/** Longer than any request may take: the SDKs' own time-out is not the one that counts. */
export const sdkTimeoutMs = 3_600_000;

interface RequestSettings extends Pick<WireSettings, "timeoutMs"> {
  readonly clock: Clock;
  readonly key: string | undefined;
  readonly caller: AbortSignal;
}

/**
 * One request: with the patience of the settings, and whatever is thrown turned into a ProviderFault without the key.
 * What the caller cancelled rejects with the caller's reason, what it does not read with ABORTED.
 */
export async function* requested(
  { timeoutMs, clock, key, caller }: RequestSettings,
  request: (waiting: Patience) => AsyncIterable<Piece>,
): AsyncGenerator<Piece> {
  const waiting = patience(timeoutMs, caller);
  try {
    for await (const piece of request(waiting)) {
      waiting.given();
      yield piece;
      waiting.taken();
    }
    // The SDKs end a stream that is aborted without a word.
    waiting.signal.throwIfAborted();
  } catch (error) {
    caller.throwIfAborted();
    const reason: unknown = waiting.signal.reason;
    if (reason instanceof AiosError) throw reason;
    const silent = waiting.signal.aborted && reason instanceof ProviderFault;
    const fault = silent ? reason : faultOf(error, clock.now(), key);
    fault.begun = waiting.begun;
    throw fault;
  } finally {
    waiting.end();
  }
}

/** Tool calls as a provider wrote them, each with an id of its own. Throws ProviderFault unless their arguments are objects. */
export function callsOf(
  calls: readonly { readonly id: string; readonly name: string; readonly json: string }[],
  finish: Finish,
  tokens: Tokens,
): ToolCall[] {
  const ids = new Set<string>();
  return calls.map(({ id, name, json }, at) => {
    const own = id === "" || ids.has(id) ? `call_${at + 1}` : id;
    ids.add(own);
    const value = argumentsOf(json);
    if (isObject(value)) return { id: own, name, arguments: value };
    if (finish === "length")
      throw new ProviderFault("short", `its call of ${name} is cut off after ${tokens.outputTokens} tokens`, {
        tokens,
      });
    throw new ProviderFault("malformed", `its arguments for ${name} are not a JSON object`);
  });
}

/** An error that came as an answer (status 200), as an SDK's error of the status that it names. */
export function errorIn(answer: unknown): Error | undefined {
  const [body] = Array.isArray(answer) ? answer : [answer];
  if (!isObject(body)) return undefined;
  const error = body["object"] === "error" || body["type"] === "error" ? (body["error"] ?? body) : body["error"];
  if (error === undefined || error === null || error === false || error === "") return undefined;
  const told = isObject(error) ? error : { message: String(error) };
  const message = typeof told["message"] === "string" ? told["message"] : JSON.stringify(told);
  return Object.assign(new Error(message), { status: statusIn(told) ?? 400, error: told });
}

/**
 * The answer in events that came where none were asked for: some who speak a protocol stream whatever they are asked. It is paid
 * for, as another try would be. Undefined when what came is no text of events.
 */
export async function unasked<Event>(
  answered: unknown,
  read: (events: AsyncIterable<Event>) => AsyncIterable<Piece>,
): Promise<Piece | undefined> {
  if (typeof answered !== "string" || !/^\s*(?:data|event|id|retry)?:/.test(answered)) return undefined;
  const texts = answered.split(/\r\n?|\n/).flatMap((line) => /^data: ?(.*)$/.exec(line)?.[1] ?? []);
  const events = texts.filter((text) => text !== "[DONE]").map((text) => JSON.parse(text) as Event);
  let whole: Piece | undefined;
  for await (const piece of read(inTurn(events))) if ("answer" in piece) whole = piece;
  return whole;
}

async function* inTurn<Event>(events: readonly Event[]): AsyncGenerator<Event> {
  yield* events;
}

/** Arguments as JSON; some write none as null, and some write the JSON as a text of JSON. */
function argumentsOf(json: string): unknown {
  const value = json.trim() === "" ? null : parse(json);
  return (typeof value === "string" ? parse(value) : value) ?? (value === null ? {} : undefined);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A table's own entry: providers' words are looked up that may be any. */
export function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** A count of tokens, or undefined when it is none. */
export function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/**
 * The tokens that were counted, or the most there can be where none were. A provider that reports no input does not
 * count: there always is some.
 */
export function tokensOf(
  input: number | undefined,
  output: number | undefined,
  question: Question,
  written: string,
): Tokens {
  const counted = input ? output : output || undefined;
  return {
    inputTokens: input || tokensAtMost(JSON.stringify(question)),
    outputTokens: counted ?? tokensAtMost(written),
  };
}

export function malformed(what: string): ProviderFault {
  return new ProviderFault("malformed", `its answer is not what its protocol says: ${what}`);
}

/** Tokens of a text at most, where a provider does not count: none is less than a byte. */
function tokensAtMost(text: string): number {
  return Buffer.byteLength(text);
}
