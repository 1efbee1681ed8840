import { createHash } from "node:crypto";
import type { Log } from "#lib/log";
import { beginning } from "#lib/text";
import { ProviderFault } from "./fault.ts";

/**
 * The parts of its protocol that an endpoint refuses. A refusal is learned when it comes, and told once; the next
 * question goes without the part.
 */
export interface Learned {
  /** Whether a part is to be left out. */
  without(part: string): boolean;
  /**
   * Reads what `error`, an SDK's, says of the parts that were sent. Throws a fault of the kind "learned" when it
   * refuses one of them, after which the same is asked without.
   */
  learn(error: unknown, sent: readonly Part[]): void;
}

/** A part of a request: under which name it is left out, and the words of a refusal that means it. */
export interface Part {
  readonly name: string;
  readonly means: RegExp;
}

/** Statuses of a request that is refused for what is in it; 501 is said of what is not implemented. */
const refusals = [400, 422, 501];

/** A value that is out of range says nothing of the part. */
const ofItsValue =
  /\b(between|at most|at least|less than|greater than|range|too (large|high|low|small|big)|<=|>=|≤|≥)/i;

/** Only this much of a refusal is read: the patterns take long for a text without end. */
const saidLengthMax = 16_384;

/** Refused schemas are remembered by name. Past this many the list begins anew. */
const learnedMax = 256;

export function openLearned(provider: string, log: Log): Learned {
  const refused = new Set<string>();
  return {
    without: (part) => refused.has(part),
    learn(error, sent) {
      const { status, error: body, message } = error as { status?: unknown; error?: unknown; message?: unknown };
      if (!refusals.includes(Number(status))) return;
      const said = beginning(`${JSON.stringify(body) ?? ""} ${String(message)}`, saidLengthMax);
      const part = sent.find(({ name, means }) => means.test(said) && !refused.has(name));
      if (part === undefined || ofItsValue.test(said)) return;
      if (refused.size >= learnedMax) refused.clear();
      refused.add(part.name);
      log.warn("a provider refuses a part of a request: it is asked without", { provider, part: part.name });
      throw new ProviderFault("learned", `it takes no ${part.name}`);
    },
  };
}

/** A schema's own name: one that is refused says nothing of others. */
export const schemaPart = (schema: unknown): string =>
  `schema ${createHash("sha256").update(JSON.stringify(schema)).digest("hex").slice(0, 16)}`;
