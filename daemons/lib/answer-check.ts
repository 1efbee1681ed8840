import { isMultiple } from "#lib/decimal";
import { AiosError, messageOf } from "#lib/errors";
import { readSchema } from "#lib/json-schema";
import { underWatchdog } from "#lib/linux/watchdog";

/** Says what is wrong with an answer, or undefined when it is JSON that the schema accepts. */
export type AnswerCheck = (answer: string) => string | undefined;

/** A caller's regular expression can take for ever on an answer, and so can references that double each other: they have this long. */
const checkTimeoutMs = 2_000;

/**
 * A check of answers against a JSON Schema. Ajv is loaded at the first call: most machines boot without ever needing it.
 * Numbers are what they are written as: 19.99 is a multiple of 0.01, and 1e999 is none that can be kept.
 * Throws INVALID_ARGUMENT when Ajv does not accept the schema.
 */
export async function answerCheck(schemaText: string): Promise<AnswerCheck> {
  const { Ajv2020 } = await import("ajv/dist/2020.js");
  try {
    const ajv = new Ajv2020({ strict: false, strictNumbers: true, validateFormats: false });
    ajv.removeKeyword("multipleOf");
    ajv.addKeyword({
      ...{ keyword: "multipleOf", type: "number", schemaType: "number" },
      error: { message: "must be a multiple of what multipleOf says" },
      validate: (step: number, value: number) => isMultiple(value, step),
    });
    const schema = readSchema(schemaText);
    const valid = ajv.compile(typeof schema === "boolean" ? schema : withoutDialect(schema));
    return (answer) => {
      try {
        const value: unknown = JSON.parse(answer, finite);
        return underWatchdog(() => valid(value), checkTimeoutMs)
          ? undefined
          : `it does not fit the schema: ${ajv.errorsText(valid.errors)}`;
      } catch (error) {
        if (error instanceof SyntaxError) return `it is not JSON: ${error.message}`;
        if (error instanceof RangeError) return `it has a number that cannot be kept: ${error.message}`;
        return `it cannot be checked by the schema: ${messageOf(error)}`;
      }
    };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: "json_schema",
      reason: messageOf(error).replace(/\bdata(?=[/ ])/g, "#"),
      next: "send a JSON Schema (2020-12)",
    });
  }
}

/** Ajv knows the dialect that it was made for, and no other by name. */
function withoutDialect(schema: unknown): object {
  const { $schema: _, ...rest } = Object(schema);
  return rest;
}

/** JSON has no largest number, but what is past ours would be stored as null. */
function finite(key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value))
    throw new RangeError(key === "" ? "too large" : `${key} is too large`);
  return value;
}
