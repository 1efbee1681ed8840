import type { Fields, Log } from "#lib/log";

/** Stands in a secret's place. */
export const redactedMark = "[redacted]";

/** Takes secrets out of what is written down: values of fields that are named after one, and what looks like one in texts. */
export interface Redaction {
  /** JSON, or text that should have been; the same string when it holds no secret. */
  json(text: string): string;
  text(text: string): string;
  value(value: unknown): unknown;
}

const plain = (name: string) => name.toLowerCase().replaceAll(/[-_\s.]/g, "");

/** Redaction by these words: a field whose name holds one, in whatever case and spelling, is a secret. */
export function openRedaction(keys: readonly string[]): Redaction {
  const words = keys.map(plain).filter((word) => word !== "");
  if (words.length === 0) return { json: (text) => text, text: (text) => text, value: (value) => value };
  const spelled = words.map((word) => [...word].map(escaped).join("[-_. ]?")).join("|");
  const suspect = new RegExp(`${spelled}|://[^/\\s"]*@|PRIVATE KEY|\\bbearer\\b|\\\\u`, "i");
  const secret = `(?:"(?:[^"\\\\\\n]|\\\\.)*"|'[^'\\n]*'|[^\\s"',;&}\\]]+)`;
  // `password=…`, `"token": "…"`, `Authorization: Bearer …`; and `--api-key …`, where the value stands after a space.
  const assignment = new RegExp(
    `((?:${spelled})[\\w-]{0,40}["'\\\\]{0,4}\\s{0,8}[=:]\\s{0,8})(?:bearer |basic )?${secret}`,
    "gi",
  );
  const option = new RegExp(`(--[\\w-]{0,40}(?:${spelled})[\\w-]{0,40}\\s{1,8})${secret}`, "gi");
  const isSecret = (name: string) => {
    const bare = plain(name);
    return words.some((word) => bare.includes(word));
  };

  const text = (given: string): string =>
    suspect.test(given)
      ? given
          .replaceAll(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, redactedMark)
          .replaceAll(/(:\/\/[^/\s:@"]*):[^/\s@"]+@/g, `$1:${redactedMark}@`)
          .replaceAll(assignment, `$1${redactedMark}`)
          .replaceAll(option, `$1${redactedMark}`)
          .replaceAll(/\bbearer\s+[\w.~+/=-]{8,}/gi, `Bearer ${redactedMark}`)
      : given;

  const list = (values: readonly unknown[]) =>
    values.map((each, at) => {
      const before = values[at - 1];
      // The word after an option of that name: ["--password", "…"].
      const follows = typeof before === "string" && /^--?[^\s=]+$/.test(before) && isSecret(before);
      return follows && typeof each === "string" ? redactedMark : value(each);
    });

  const value = (given: unknown): unknown => {
    if (typeof given === "string") return text(given);
    if (typeof given !== "object" || given === null) return given;
    if (Array.isArray(given)) return list(given);
    return Object.fromEntries(
      Object.entries(given).map(([name, inner]) => [
        name,
        isSecret(name) && inner !== null && typeof inner !== "boolean" ? redactedMark : value(inner),
      ]),
    );
  };

  return {
    text,
    value,
    json: (given) => {
      if (!suspect.test(given)) return given;
      try {
        return JSON.stringify(value(JSON.parse(given)));
      } catch {
        return text(given);
      }
    },
  };
}

const escaped = (character: string) => character.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** A log that writes no secret down. `current` gives the redaction in effect. */
export function redactedLog(log: Log, current: () => Redaction): Log {
  const at = (level: keyof Log) => (msg: string, fields?: Fields) =>
    log[level](current().text(msg), fields && (redactedFields(fields, current()) as Fields));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function redactedFields(fields: Fields, redaction: Redaction): unknown {
  const told = Object.entries(fields).map(([name, value]) => [
    name,
    value instanceof Error ? (value.stack ?? value.message) : value,
  ]);
  return redaction.value(Object.fromEntries(told));
}
