/**
 * An answer is checked where the caller's patterns cannot hang anything: a schema's regular expressions run under V8's
 * watchdog.
 */
import { type AnswerCheck, answerCheck } from "#lib/answer-check";
import { grammarOf } from "../between/index.ts";

/** A compiled JSON schema: a grammar for the model, and a check of its answer. */
interface Compiled {
  readonly grammar: string;
  readonly check: AnswerCheck;
}

/** Schemas that are kept compiled: agents ask with the same ones again and again. */
const keptMax = 16;

/** Compiles schemas and keeps those used last. INVALID_ARGUMENT when a text is no schema, or too large a one. */
export function schemas(): (schemaText: string) => Promise<Compiled> {
  const kept = new Map<string, Compiled>();
  return async (schemaText) => {
    const known = kept.get(schemaText);
    kept.delete(schemaText);
    const compiled = known ?? { grammar: grammarOf(schemaText), check: await answerCheck(schemaText) };
    kept.set(schemaText, compiled);
    for (const [oldest] of kept) if (kept.size > keptMax) kept.delete(oldest);
    return compiled;
  };
}
