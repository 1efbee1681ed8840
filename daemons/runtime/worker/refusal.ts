import type { Code } from "#lib/errors";

/** Thrown in a worker for what the caller can mend; everything else that is thrown there is the worker's own fault. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: Code;

  constructor(code: Code, reason: string) {
    super(reason);
    this.code = code;
  }
}
