/** Kinds of errors, as gRPC status names. Each error maps to exactly one. */
export const codes = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Code = keyof typeof codes;

interface Fault {
  /** The act, as a verb phrase: "load model". */
  readonly act: string;
  /** The object of the act: "tinyllama". */
  readonly object: string;
  /** Why it failed. */
  readonly reason: string;
  /** The reader's next step. */
  readonly next?: string;
}

const brand = Symbol.for("aios.error");

/**
 * An error that a client may see: act, object, cause and next step. Anything else that is thrown is internal. One of a
 * daemon's part, which is a bundle with a class of its own, is one too.
 */
export class AiosError extends Error {
  override readonly name = "AiosError";
  readonly [brand] = true;
  readonly code: Code;
  /** When the same call can succeed, milliseconds from now; told to clients in the trailer `retry-after-ms`. */
  readonly retryAfterMs: number | undefined;

  constructor(code: Code, fault: Fault | string, options?: ErrorOptions & { readonly retryAfterMs?: number }) {
    super(typeof fault === "string" ? fault : sentence(fault), options);
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // Who extends it is told apart by its class, as ever.
    // biome-ignore lint/complexity/noThisInStatic: it is the class that is asked about
    if (this !== AiosError) return Object.prototype.isPrototypeOf.call(this.prototype, Object(value));
    return (value as { [brand]?: unknown } | null | undefined)?.[brand] === true;
  }
}

function sentence(fault: Fault): string {
  const what = `${fault.act} ${fault.object}: ${fault.reason}`;
  return fault.next === undefined ? what : `${what}; ${fault.next}`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error ("ENOENT"), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
