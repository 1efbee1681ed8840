import { posix } from "node:path";
import { capabilityText, fillTemplate, literal } from "#lib/capability";
import { AiosError } from "#lib/errors";
import type { JsonObject } from "./json.ts";

/**
 * The capability that a template such as `fs:write:{path}` asks for with this input: exactly the one thing that is named, no pattern.
 * Throws INVALID_ARGUMENT when the input does not name it.
 */
export function capabilityFor(template: string, input: JsonObject): string {
  const filled = fillTemplate(template, (field) => {
    const value = input[field];
    // A process's number, a port: as the registry writes them.
    if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
    if (typeof value !== "string") {
      throw new AiosError(
        "INVALID_ARGUMENT",
        `grant ${template}: the input has neither text nor a whole number ${field}`,
      );
    }
    return literal(value.startsWith("/") ? plainPath(value) : value);
  });
  return capabilityText(filled);
}

/** As the registry compares it, where no symbolic link is on the way: a link is not followed into what was not named. */
function plainPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}
