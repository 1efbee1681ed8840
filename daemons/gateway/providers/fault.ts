/**
 * What a provider says is put into errors only after whatever looks like a key is taken out: they like to quote them.
 */
import { errnoOf, messageOf } from "#lib/errors";
import { beginning, cut } from "#lib/text";
import type { Tokens } from "../question.ts";

/**
 * What went wrong with one request to a provider:
 * unreachable (no connection, an error of the server's), limited (too many requests), slow (silence for too long),
 * cut (the answer broke off), malformed (not an answer), unfit (not what the question's schema accepts), large (more than we
 * read), short (a call of a tool is cut off by max_tokens), key (not accepted), credit (none left), model (none of this name),
 * request (refused as wrong), learned (a part of it is refused: the same is asked without).
 */
export type FaultKind = Passing | Costly | "key" | "credit" | "model" | "request" | "learned";
type Passing = "unreachable" | "limited" | "slow" | "cut" | "malformed";
type Costly = "slow" | "cut" | "malformed" | "large" | "unfit" | "short";

/** Faults that another try may mend. */
const passing: readonly Passing[] = ["unreachable", "limited", "slow", "cut", "malformed"];

/** Faults after which the provider may have counted tokens that it did not tell. */
const costly: readonly Costly[] = ["slow", "cut", "malformed", "large", "unfit", "short"];

interface FaultOptions {
  readonly retryAfterMs?: number | undefined;
  readonly tokens?: Tokens;
}

/** A request that a provider did not answer. Its message goes into errors and logs: it carries no key. */
export class ProviderFault extends Error {
  override readonly name = "ProviderFault";
  readonly kind: FaultKind;
  /** How long the provider asks to be left alone, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Its cost, where that was told. */
  readonly tokens: Tokens | undefined;
  /** An answer had begun to come, of text, reasoning or calls: whatever ended it, that was paid for. */
  begun = false;

  constructor(kind: FaultKind, message: string, options: ErrorOptions & FaultOptions = {}) {
    super(message, options);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
    this.tokens = options.tokens;
  }

  get passing(): boolean {
    return (passing as readonly FaultKind[]).includes(this.kind);
  }

  get costly(): boolean {
    return this.begun || (costly as readonly FaultKind[]).includes(this.kind);
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
 * Turns an error of an SDK or of fetch into a fault. `nowMs` is for a Retry-After that is a date; `key` never gets
 * through. A ProviderFault stays as it is, wherever in the chain of causes it is.
 */
export function faultOf(error: unknown, nowMs: number, key: string | undefined): ProviderFault {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof ProviderFault) return cause;
  const { status: answered, headers } = error as SdkError;
  const retryAfterMs = headers instanceof Headers ? retryAfterOf(headers, nowMs) : undefined;
  // The error itself is no cause of ours: it holds the request's headers, and with them the key.
  const reason = tidy(reasonOf(error), key);
  const told = bodyOf(error);
  const status = typeof answered === "number" ? answered : statusIn(told);
  const kind = standingKind(status, told, reason) ?? (status === undefined ? lostKind(error) : kindOf(status));
  const message = typeof answered === "number" ? `it answered ${answered}: ${reason}` : reason;
  return new ProviderFault(kind, message, { retryAfterMs });
}

function kindOf(status: number): FaultKind {
  if (status === 401 || status === 403) return "key";
  // Nothing else is named by the address that is asked.
  if (status === 404 || status === 405) return "model";
  if (status === 429) return "limited";
  // Who stands before the model did not wait for it: it may have answered all the same.
  if (status === 504 || status === 524) return "slow";
  if (status === 408 || status === 409 || status >= 500) return "unreachable";
  return "request";
}

/**
 * The kind of a fault that no waiting mends, by the code that the provider gives, or where it gives none by its words.
 */
function standingKind(status: number | undefined, { code, type }: ToldError, reason: string): FaultKind | undefined {
  const named = `${code} ${type}`;
  if (status === 402 || /insufficient_(quota|balance|credit)|billing|credit_balance|payment/i.test(named))
    return "credit";
  if (status === 400 && /credit balance|insufficient (balance|credit|quota|funds)/i.test(reason)) return "credit";
  if (/model_not_(found|supported)|invalid_model|unknown_model/i.test(named)) return "model";
  const unknown =
    /\bmodels?\b.*(not found|not exist|no such|unknown|invalid|not a valid)|(not found|not exist|no such|unknown|invalid|not a valid)\b.*\bmodels?\b/i;
  return status === 400 && unknown.test(reason) ? "model" : undefined;
}

/** Faults of the way there, at which nothing was asked. All others may have been heard. */
const unheard =
  /^(ECONNREFUSED|ENOTFOUND|EAI_|EHOST|ENET|EADDR|EACCES|EPERM|EPROTO|EMFILE|ENFILE|UND_ERR_CONNECT|ERR_TLS|ERR_SSL|ERR_INVALID|CERT_|DEPTH_|SELF_|UNABLE_)/;
const onTheWay = ["connect", "getaddrinfo"];

function lostKind(error: unknown): FaultKind {
  if (error instanceof SyntaxError) return "malformed";
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = errnoOf(cause) ?? "";
    if (unheard.test(code) || onTheWay.includes(String((cause as NodeJS.ErrnoException).syscall))) return "unreachable";
    // A connection that ends, an answer that is no HTTP, a compression that is none.
    if (/^[A-Z][A-Z0-9_]+$/.test(code)) return "cut";
  }
  // What is thrown by reading an answer.
  return error instanceof TypeError || error instanceof RangeError ? "malformed" : "unreachable";
}

/** An error's own words: in the body of an answer, or inside a stream that began well. */
interface ToldError {
  readonly code: unknown;
  readonly type: unknown;
}

function bodyOf(error: unknown): ToldError {
  const inner = (error as SdkError).error as { code?: unknown; type?: unknown; error?: ToldError } | undefined;
  const told = inner?.error ?? inner;
  return { code: told?.code ?? "", type: told?.type ?? (error as SdkError).type ?? "" };
}

/** Types of errors, and the statuses that they would have had. */
const typeStatus: readonly (readonly [RegExp, number])[] = [
  [/rate_?limit|too_many_requests|resource_exhausted|throttl/i, 429],
  [/authentication|permission|unauthorized|forbidden|invalid_?api_?key/i, 401],
  [/invalid_?request|invalid_argument|not_?found|too_large|bad_?request|unsupported/i, 400],
  [/overloaded|server|unavailable|timeout|internal|api_error/i, 503],
];

/** The HTTP status that an error would have had, by its code or type; undefined where it tells none. */
export function statusIn({ code, type }: { readonly code?: unknown; readonly type?: unknown }): number | undefined {
  const status = Number(code);
  if (Number.isInteger(status) && status >= 400 && status < 600) return status;
  return typeStatus.find(([pattern]) => pattern.test(`${code} ${type}`))?.[1];
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
  return cut(clean, reasonLengthMax);
}

/** Providers like to quote the beginning of a key. */
const keyBeginning = 6;

/** Words that look like a key, whoever's it is. */
const keyLike = /\b(?:sk|key|pk|rk|gsk|xai)-[A-Za-z0-9_*.-]{6,}/g;

function withoutKey(text: string, key: string | undefined): string {
  const begins = key !== undefined && key.length >= 2 * keyBeginning ? beginning(key, keyBeginning) : key;
  const [first = "", ...rest] = begins ? text.split(begins) : [text];
  const whole = [first, ...rest.map((after) => after.replace(/^[^\s"'.,;]*/, "[key]"))].join("");
  return whole.replace(keyLike, "[key]").replace(/\bBearer\s+\S+/gi, "Bearer [key]");
}

/** The longest wait that a provider can ask for. */
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
