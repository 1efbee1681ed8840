/**
 * The configuration is validated once: init merges it, checks it against one schema, and writes
 * `/run/aios/config.json`, which the daemons read. Files in TOML are checked by typebox, which walks a schema; Ajv
 * compiles one first, which pays for the inputs of a tool and not for a file that is read once (54 ms against 5 for the
 * configuration).
 */
import { readFileSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import type { Static, TSchema } from "typebox";
import * as Type from "typebox";
import { Check, Errors } from "typebox/schema";
import { AiosError, messageOf } from "../errors.ts";
import { durationMs } from "./duration.ts";
import { durationType } from "./duration-type.ts";
import { hostname } from "./hostname.ts";

const strict = { additionalProperties: false } as const;
const duration = durationType();
const fileName = Type.String({ pattern: "^[^/]+$", description: "a file name without a folder" });
const baseUrl = Type.String({
  pattern: "^https?://[^/?#@]+(/[^?#]*)?$",
  description: "an address such as https://host or http://127.0.0.1:8080/v1, without a name or a key in it",
});
const providerName = Type.String({
  pattern: "^[a-z0-9][a-z0-9-]{0,31}$",
  description: "a provider's name of lower-case letters, digits and dashes",
});
const usd = Type.Number({ minimum: 0, maximum: 1_000_000 });
const octet = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const nameServer = Type.String({
  pattern: `^(?:${octet}(?:\\.${octet}){3}|(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?)$`,
  description: "an address such as 10.0.0.1 or 2001:db8::1; it cannot have a port, which is always 53",
});
const timeServer = Type.String({
  pattern:
    "^(?:\\[[0-9A-Fa-f:.]{2,45}\\](?::\\d{1,5})?|[0-9A-Fa-f:.]{2,45}|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::\\d{1,5})?)$",
  description: "a name or an address, with or without a port: ntp.example.org, 10.0.0.1:123, [2001:db8::1]:123",
});
const absolutePath = Type.String({ pattern: "^/", description: "an absolute path" });

/** `/etc/aios/config.toml`. */
export const configSchema = Type.Object(
  {
    system: Type.Object(
      {
        hostname: Type.String(hostname),
        log_level: Type.Union([
          Type.Literal("debug"),
          Type.Literal("info"),
          Type.Literal("warn"),
          Type.Literal("error"),
        ]),
        autonomy_level: Type.Union([Type.Literal("full"), Type.Literal("supervised"), Type.Literal("manual")]),
      },
      strict,
    ),
    models: Type.Object(
      {
        runtime: Type.Literal("llama-cpp"),
        model_dir: absolutePath,
        metrics_port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
        operational: Type.Object(
          {
            name: fileName,
            always_loaded: Type.Literal(true),
            max_tokens: Type.Integer({ minimum: 1 }),
            temperature: Type.Number({ minimum: 0, maximum: 2 }),
          },
          strict,
        ),
        tactical: Type.Optional(
          Type.Object(
            {
              name: fileName,
              load_on_demand: Type.Boolean(),
              max_tokens: Type.Integer({ minimum: 1 }),
              temperature: Type.Number({ minimum: 0, maximum: 2 }),
              unload_after_idle: duration,
            },
            strict,
          ),
        ),
      },
      strict,
    ),
    api: Type.Object(
      {
        claude: Type.Object(
          {
            model: Type.String(),
            max_tokens: Type.Integer({ minimum: 1 }),
            monthly_budget_usd: Type.Number({ minimum: 0 }),
            rate_limit_rpm: Type.Integer({ minimum: 1 }),
            base_url: Type.Optional(baseUrl),
          },
          strict,
        ),
        openai: Type.Object(
          {
            model: Type.String(),
            max_tokens: Type.Integer({ minimum: 1 }),
            monthly_budget_usd: Type.Number({ minimum: 0 }),
            fallback_only: Type.Boolean(),
            rate_limit_rpm: Type.Optional(Type.Integer({ minimum: 1 })),
            base_url: Type.Optional(baseUrl),
          },
          strict,
        ),
      },
      strict,
    ),
    gateway: Type.Optional(
      Type.Object(
        {
          order: Type.Optional(Type.Array(providerName, { maxItems: 16, uniqueItems: true })),
          alert_percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
          request_timeout: Type.Optional(duration),
          attempts_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
          breaker_failures: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
          breaker_pause: Type.Optional(duration),
          cache_ttl: Type.Optional(duration),
          cache_ttl_documentation: Type.Optional(duration),
          cache_entries_max: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
          queue_length_max: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
          queue_wait_max: Type.Optional(duration),
          /** By model: US dollars for a million tokens. */
          prices: Type.Optional(Type.Record(Type.String(), Type.Object({ input_usd: usd, output_usd: usd }, strict))),
          /** By name: providers beside [api.claude] and [api.openai]. */
          providers: Type.Optional(
            Type.Record(
              Type.String(),
              Type.Object(
                {
                  protocol: Type.Union([Type.Literal("claude"), Type.Literal("openai")]),
                  base_url: baseUrl,
                  model: Type.String({ minLength: 1 }),
                  max_tokens: Type.Integer({ minimum: 1 }),
                  monthly_budget_usd: usd,
                  rate_limit_rpm: Type.Integer({ minimum: 1 }),
                  needs_key: Type.Optional(Type.Boolean()),
                  inside: Type.Optional(Type.Boolean()),
                  fallback_only: Type.Optional(Type.Boolean()),
                },
                strict,
              ),
            ),
          ),
        },
        strict,
      ),
    ),
    planning: Type.Optional(
      Type.Object(
        {
          may_name: Type.Optional(
            Type.Array(
              Type.String({
                pattern: "^(/.*|(\\*\\.)?[A-Za-z0-9:.-]+)$",
                description: "a host, *.host for all below it, or a folder",
              }),
              { maxItems: 256 },
            ),
          ),
        },
        strict,
      ),
    ),
    memory: Type.Object(
      {
        operational_max_entries: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
        working_db: absolutePath,
        longterm_db: absolutePath,
        vector_db: absolutePath,
        vector_url: Type.Optional(
          Type.String({ pattern: "^https?://", description: "the address of a Chroma server" }),
        ),
      },
      strict,
    ),
    security: Type.Object(
      {
        capability_mode: Type.Literal("strict"),
        audit_all_tool_calls: Type.Literal(true),
        sandbox_untrusted: Type.Boolean(),
        auto_patch: Type.Boolean(),
        ledger_keep: Type.Optional(duration),
      },
      strict,
    ),
    network: Type.Object(
      {
        management_port: Type.Integer({ minimum: 1, maximum: 65_535 }),
        management_tls: Type.Literal(true),
        management_subnets: Type.Optional(
          Type.Array(
            Type.String({
              pattern: "^[0-9a-fA-F.:]{2,39}/[0-9]{1,3}$",
              description: "a network such as 192.0.2.0/24 or 2001:db8::/32",
            }),
            { minItems: 1, maxItems: 32 },
          ),
        ),
        allow_outbound: Type.Boolean(),
        dns_servers: Type.Array(nameServer, { maxItems: 16 }),
        ntp_servers: Type.Optional(Type.Array(timeServer, { maxItems: 8 })),
      },
      strict,
    ),
  },
  strict,
);

export type Config = Static<typeof configSchema>;

export { durationMs };

/**
 * Reads TOML that must fit `schema`.
 * Throws INVALID_ARGUMENT with file, line, key and what was expected.
 */
export function parseToml<S extends TSchema>(schema: S, text: string, file: string): Static<S> {
  const value = parseOnly(text, file);
  // A file is checked once: a validator that compiles its schemas takes ten times as long for that.
  if (!Check(schema, value)) throw explain(schema, value, text, file);
  const long = tooLong(schema, value);
  if (long !== undefined)
    throw faultIn(text, file, long, foundAt(value, long), expectation(placeOf(schema, long).wanted));
  return value as Static<S>;
}

function parseOnly(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const line = error instanceof TomlError ? error.line : 1;
    const reason = messageOf(error).split("\n")[0] ?? "";
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: `${file}:${line}`,
      reason,
      next: "correct the line",
    });
  }
}

function explain(schema: TSchema, value: unknown, text: string, file: string): AiosError {
  const [, [error]] = Errors(schema, value);
  const { path, wanted } = placeOf(schema, namesIn(error?.instancePath ?? ""));
  const missing = error?.keyword === "required" ? error.params.requiredProperties.slice(0, 1) : [];
  const key = [...path, ...missing];
  // The schema of what a table does not have is false.
  if (error?.keyword === "boolean") return fault(text, file, key, "no such key");
  if (missing.length > 0) return fault(text, file, key, "the key is missing");
  return faultIn(text, file, key, foundAt(value, path), expectation(wanted) ?? error?.message);
}

const foundAt = (value: unknown, path: readonly string[]) =>
  path.reduce<unknown>((inner, name) => (inner as Record<string, unknown> | undefined)?.[name], value);

function faultIn(text: string, file: string, key: readonly string[], found: unknown, wanted = "another value") {
  return fault(text, file, key, `${JSON.stringify(found)} is not what is expected: ${wanted}`);
}

function fault(text: string, file: string, key: readonly string[], reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read",
    object: `${file}:${lineOf(text, key)}`,
    reason: `${key.join(".")}: ${reason}`,
    next: "correct the key",
  });
}

/** The path of a duration that is longer than its schema allows; undefined = there is none. */
function tooLong(wanted: Wanted | undefined, value: unknown): string[] | undefined {
  if (typeof value === "string" && wanted?.most !== undefined)
    return durationMs(value) > durationMs(wanted.most) ? [] : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, inner] of Object.entries(value)) {
    const path = tooLong(partOf(wanted, name), inner);
    if (path !== undefined) return [name, ...path];
  }
  return undefined;
}

/** The names in a JSON pointer (RFC 6901). */
function namesIn(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The keywords of a JSON Schema that say what a value may be, and where the schemas of its parts are. */
interface Wanted {
  /** The longest that a duration may be. */
  readonly most?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Wanted[];
  readonly properties?: Readonly<Record<string, Wanted>>;
  readonly patternProperties?: Readonly<Record<string, Wanted>>;
  readonly items?: Wanted;
}

/** The schema at a path of the value, or the one above it that is one of several: which of them was meant nobody knows. */
function placeOf(schema: TSchema, path: readonly string[]): { path: readonly string[]; wanted: Wanted | undefined } {
  let wanted: Wanted | undefined = schema;
  for (const [depth, name] of path.entries()) {
    if (wanted?.anyOf !== undefined) return { path: path.slice(0, depth), wanted };
    wanted = partOf(wanted, name);
  }
  return { path, wanted };
}

const partOf = (wanted: Wanted | undefined, name: string): Wanted | undefined =>
  wanted?.properties?.[name] ?? wanted?.items ?? Object.values(wanted?.patternProperties ?? {})[0];

/** In words; undefined when the schema has none of its own. */
function expectation({ description, const: only, enum: some, anyOf }: Wanted = {}): string | undefined {
  const values = some ?? (anyOf ?? [{ const: only }]).map((one) => one.const);
  if (description !== undefined || values.includes(undefined)) return description;
  const words = values.map((one) => JSON.stringify(one));
  return words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** The line (from 1) of a key, or of the nearest table around it. */
function lineOf(text: string, key: readonly string[]): number {
  let table: string[] = [];
  let best = { depth: -1, line: 1 };
  text.split("\n").forEach((line, index) => {
    const header = /^\s*\[\[?([^\]]+)\]\]?/.exec(line)?.[1];
    const name = /^\s*([A-Za-z0-9_-]+)\s*=/.exec(line)?.[1];
    if (header !== undefined) table = header.split(".").map((part) => part.trim());
    const here = header !== undefined ? table : name !== undefined ? [...table, name] : undefined;
    if (here?.every((part, at) => part === key[at]) && here.length > best.depth)
      best = { depth: here.length, line: index + 1 };
  });
  return best.line;
}

/** The configuration in `file`. */
export function readConfig(file: string): Config {
  return parseToml(configSchema, readFileSync(file, "utf8"), file);
}
