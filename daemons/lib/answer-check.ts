import { AiosError, messageOf } from "#lib/errors";
import { underWatchdog } from "#lib/watchdog";

/** Says what is wrong with an answer, or undefined when it is JSON that the schema accepts. */
export type AnswerCheck = (answer: string) => string | undefined;

/** A regular expression of a caller's can take for ever on an answer; it is given this long. */
const patternTimeoutMs = 250;

/**
 * A check of answers against a JSON Schema. Ajv is loaded at the first call: most machines boot without ever needing it.
 * Throws INVALID_ARGUMENT when Ajv does not accept the schema.
 */
export async function answerCheck(schemaText: string): Promise<AnswerCheck> {
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  try {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    const { $schema: _, ...schema } = JSON.parse(schemaText);
    const valid = ajv.compile(schema);
    const timed = /"pattern/.test(schemaText);
    return (answer) => {
      try {
        const value = JSON.parse(answer);
        return (timed ? underWatchdog(() => valid(value), patternTimeoutMs) : valid(value))
          ? undefined
          : `it does not fit the schema: ${ajv.errorsText(valid.errors)}`;
      } catch (error) {
        if (error instanceof SyntaxError) return `it is not JSON: ${error.message}`;
        return `the schema's patterns cannot be checked: ${messageOf(error)}`;
      }
    };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: "json_schema",
      reason: messageOf(error),
      next: "send a JSON Schema (2020-12)",
    });
  }
}
