import { messageOf } from "#lib/errors";

/**
 * What went wrong with one request to a provider:
 * unreachable (no connection, an error of the server's), limited (too many requests), slow (silence for too long),
 * cut (the answer broke off), malformed (not an answer), unfit (not what the question's schema accepts), large (more than we
 * read), key (not accepted), request (refused as wrong).
 */
export type FaultKind =
  | "unreachable"
  | "limited"
  | "slow"
  | "cut"
  | "malformed"
  | "unfit"
  | "large"
  | "key"
  | "request";

/** Faults that another try may mend. */
const passing: readonly FaultKind[] = ["unreachable", "limited", "slow", "cut", "malformed"];

/** Faults after which the provider may have counted tokens that it did not tell. */
const costly: readonly FaultKind[] = ["slow", "cut", "malformed", "large"];

/** A request that a provider did not answer. Its message goes into errors and logs: it carries no key. */
export class ProviderFault extends Error {
  override readonly name = "ProviderFault";
  readonly kind: FaultKind;
  /** How long the provider asks to be left alone, milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: FaultKind, message: string, options: ErrorOptions & { retryAfterMs?: number | undefined } = {}) {
    super(message, options);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }

  get passing(): boolean {
    return passing.includes(this.kind);
  }

  get costly(): boolean {
    return costly.includes(this.kind);
  }
}

/** An answer that is whole, but not what the question's schema accepts. */
export class UnfitAnswer extends ProviderFault {
  readonly text: string;
  readonly wrong: string;

  constructor(text: string, wrong: string) {
    super("unfit", `its answer is not what was asked for: ${wrong}`);
    this.text = text;
    this.wrong = wrong;
  }
}

/** The longest text of a provider's that an error carries. */
const reasonLengthMax = 300;

/** The parts of an SDK's error that we use; both SDKs have them. */
interface SdkError {
  readonly status?: unknown;
  readonly headers?: unknown;
  readonly error?: unknown;
  readonly type?: unknown;
}

/**
 * What an SDK or fetch threw, as a fault. `nowMs` is for a Retry-After that is a date; `key` never gets through.
 * A ProviderFault stays as it is, wherever in the chain of causes it is.
 */
export function faultOf(error: unknown, nowMs: number, key: string | undefined): ProviderFault {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof ProviderFault) return cause;
  const { status, headers } = error as SdkError;
  const retryAfterMs = headers instanceof Headers ? retryAfterOf(headers, nowMs) : undefined;
  // The error itself is no cause of ours: it holds the request's headers, and with them the key.
  const reason = tidy(reasonOf(error), key);
  if (typeof status !== "number") {
    const kind = typedKind(error) ?? (error instanceof SyntaxError ? "malformed" : "unreachable");
    return new ProviderFault(kind, reason, { retryAfterMs });
  }
  return new ProviderFault(kindOf(status), `it answered ${status}: ${reason}`, { retryAfterMs });
}

function kindOf(status: number): FaultKind {
  if (status === 401 || status === 403) return "key";
  if (status === 429) return "limited";
  if (status === 408 || status === 409 || status >= 500) return "unreachable";
  return "request";
}

/** An error inside a stream that began well has no status, but the type that the status would have had. */
function typedKind(error: unknown): FaultKind | undefined {
  const inner = (error as SdkError).error as { type?: unknown; error?: { type?: unknown } } | undefined;
  const type = inner?.error?.type ?? inner?.type ?? (error as SdkError).type;
  if (typeof type !== "string") return undefined;
  if (/rate_limit/.test(type)) return "limited";
  if (/authentication|permission/.test(type)) return "key";
  if (/invalid_request|not_found|too_large/.test(type)) return "request";
  return "unreachable";
}

function reasonOf(error: unknown): string {
  const inner = (error as SdkError).error as { message?: unknown; error?: { message?: unknown } } | undefined;
  const told = inner?.error?.message ?? inner?.message;
  if (typeof told === "string") return told;
  const words = [messageOf(error)];
  for (let cause = (error as Error).cause; cause instanceof Error; cause = cause.cause) words.push(cause.message);
  return words.join(": ");
}

/** One line of bounded length, without the key. */
export function tidy(text: string, key: string | undefined): string {
  const clean = withoutKey(text, key)
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim();
  return clean.length > reasonLengthMax ? `${clean.slice(0, reasonLengthMax)}…` : clean;
}

/** Providers like to quote the beginning of a key. */
const keyBeginning = 6;

/** Words that look like a key, whoever's it is. */
const keyLike = /\b(?:sk|key|pk|rk|gsk|xai)-[A-Za-z0-9_*.-]{6,}/g;

function withoutKey(text: string, key: string | undefined): string {
  const begins = key !== undefined && key.length >= 2 * keyBeginning ? key.slice(0, keyBeginning) : key;
  const [first = "", ...rest] = begins ? text.split(begins) : [text];
  const whole = [first, ...rest.map((after) => after.replace(/^[^\s"'.,;]*/, "[key]"))].join("");
  return whole.replace(keyLike, "[key]").replace(/\bBearer\s+\S+/gi, "Bearer [key]");
}

/** What a provider asks for is heard up to here. */
const retryAfterMaxMs = 3_600_000;

/** Milliseconds that the headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. */
export function retryAfterOf(headers: Headers, nowMs: number): number | undefined {
  const told = headers.get("retry-after") ?? "";
  const ms = headers.get("retry-after-ms") ?? "";
  const waits = [
    /^[0-9.]+$/.test(ms) ? Number(ms) : Number.NaN,
    /^[0-9.]+$/.test(told) ? Number(told) * 1_000 : Number.NaN,
    /^[A-Z][a-z]+, .* GMT$/.test(told) ? Math.max(0, Date.parse(told) - nowMs) : Number.NaN,
  ];
  const wait = waits.find((one) => one >= 0);
  return wait === undefined ? undefined : Math.min(wait, retryAfterMaxMs);
}
