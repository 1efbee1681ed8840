import type { Clock } from "#lib/clock";
import { faultOf, ProviderFault } from "./fault.ts";
import type { Piece, ToolCall } from "./question.ts";
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

/** Longer than any request may take: the SDKs' own time-out is not the one that counts. */
export const sdkTimeoutMs = 3_600_000;

/**
 * One request: with the patience of the settings, and whatever is thrown turned into a ProviderFault without the key.
 * What the caller cancelled rejects with the caller's reason.
 */
export async function* requested(
  settings: WireSettings,
  clock: Clock,
  key: string | undefined,
  caller: AbortSignal,
  request: (waiting: Patience) => AsyncIterable<Piece>,
): AsyncGenerator<Piece> {
  const waiting = patience(settings.timeoutMs, caller);
  try {
    for await (const piece of request(waiting)) yield piece;
    // The SDKs end a stream that is aborted without a word.
    waiting.signal.throwIfAborted();
  } catch (error) {
    caller.throwIfAborted();
    const reason: unknown = waiting.signal.reason;
    throw waiting.signal.aborted && reason instanceof ProviderFault ? reason : faultOf(error, clock.now(), key);
  } finally {
    waiting.end();
  }
}

/** A tool's arguments as a provider wrote them. Throws ProviderFault unless they are an object. */
export function argumentsOf(text: string, tool: string): ToolCall["arguments"] {
  const value = text.trim() === "" ? {} : parsed(text);
  if (isObject(value)) return value;
  throw new ProviderFault("malformed", `its arguments for ${tool} are not a JSON object`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A count of tokens, or undefined when it is none. */
export function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

export function malformed(what: string): ProviderFault {
  return new ProviderFault("malformed", `its answer is not what its protocol says: ${what}`);
}

/** Tokens of a text at most, where a provider does not count: none is less than a byte. */
export function tokensAtMost(text: string): number {
  return Buffer.byteLength(text);
}
