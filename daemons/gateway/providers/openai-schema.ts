import type { Dialect } from "./schema-fit.ts";

const formats = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
const any = () => true;

/**
 * The schemas that OpenAI's structured output takes with `strict`: everything else is answered with 400. Seen on
 * 2026-11-30 in excerpts of its guide (platform.openai.com/docs/guides/structured-outputs, "supported schemas"). Others
 * that speak the protocol take less or more of it; what they refuse is learned when they do.
 */
export const openaiDialect: Dialect = {
  keywords: {
    format: (value) => formats.includes(String(value)),
    ...{ pattern: any, multipleOf: any, minimum: any, maximum: any, exclusiveMinimum: any, exclusiveMaximum: any },
    ...{ minItems: any, maxItems: any },
  },
  allRequired: true,
  objectRoot: true,
  recursion: true,
  ...{ optionalMax: 0, unionsMax: 1_000, literalsMax: 1_000, depthMax: 10 },
};
