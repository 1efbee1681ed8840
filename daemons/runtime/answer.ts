import { AiosError, messageOf } from "#lib/errors";

/** Says what is wrong with an answer, or undefined when it is JSON that the schema accepts. */
export type AnswerCheck = (answer: string) => string | undefined;

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
    return (answer) => {
      try {
        return valid(JSON.parse(answer)) ? undefined : `it does not fit the schema: ${ajv.errorsText(valid.errors)}`;
      } catch (error) {
        return `it is not JSON: ${messageOf(error)}`;
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
