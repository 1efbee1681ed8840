import type { Dialect } from "./schema-fit.ts";

const formats = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/**
 * The schemas that Anthropic's structured output takes: everything else is answered with 400. Seen on 2026-11-30 in
 * excerpts of its guide (platform.claude.com/docs/en/build-with-claude/structured-outputs) and in what its SDK 1.11.0
 * leaves of a schema (lib/transform-json-schema). A pattern is taken there in a part of the language of patterns; it is
 * checked here alone.
 */
export const claudeDialect: Dialect = {
  keywords: {
    format: (value) => formats.includes(String(value)),
    minItems: (value) => value === 0 || value === 1,
  },
  allRequired: false,
  objectRoot: false,
  recursion: false,
  ...{ optionalMax: 24, unionsMax: 16, literalsMax: 1_000, depthMax: 32 },
};
