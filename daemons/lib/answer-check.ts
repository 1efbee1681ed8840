import { createContext, Script } from "node:vm";
import { AiosError, messageOf } from "#lib/errors";

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
    const accepts = /"pattern/.test(schemaText) ? timed(valid) : valid;
    return (answer) => {
      try {
        return accepts(JSON.parse(answer)) ? undefined : `it does not fit the schema: ${ajv.errorsText(valid.errors)}`;
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

/** The check with a limit to its time. It runs here all the same: only V8's watchdog is lent from vm. */
function timed(valid: (value: unknown) => unknown): (value: unknown) => unknown {
  const script = new Script("check()");
  return (value) => script.runInContext(createContext({ check: () => valid(value) }), { timeout: patternTimeoutMs });
}
