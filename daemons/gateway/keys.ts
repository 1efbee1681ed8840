import { readFileSync } from "node:fs";
import * as Type from "typebox";
import { parseToml } from "#lib/config";
import { errnoOf } from "#lib/errors";

const keysSchema = Type.Object(
  { claude: Type.Optional(Type.String({ minLength: 1 })), openai: Type.Optional(Type.String({ minLength: 1 })) },
  { additionalProperties: false },
);

/** API keys by provider from `file` (TOML: `claude = "…"`); none when there is no such file. */
export function readKeys(file: string): { claude?: string; openai?: string } {
  try {
    return parseToml(keysSchema, readFileSync(file, "utf8"), file);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return {};
    throw error;
  }
}
