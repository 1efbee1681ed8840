/** For tests: the parts of a JSON Schema that the catalogue's inputs are written with. */
interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly minItems?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/** Texts of every kind that a pattern of the catalogue asks for. */
const texts = [
  "memory",
  "x",
  "0644",
  "80",
  "127.0.0.1",
  "127.0.0.0/8",
  "::1",
  "example.org",
  "http://example.org/",
  "https://example.org/a.git",
  "eth0",
  "10.0.0.1/24",
  "main",
  "a".repeat(64),
  "sha256:".padEnd(71, "a"),
  "01890000-0000-7000-8000-000000000000",
  "TERM",
  "system.log_level",
  "2026-01-01",
  "/x.tar.gz",
];

/** The smallest input that fits a tool's schema: its required fields. `more` are tried first for texts. */
export function sampleOf(schema: Schema, more: readonly string[] = []): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.anyOf !== undefined) return sampleOf(schema.anyOf[0] ?? {}, more);
  if (schema.type === "object") {
    const fields = (schema.required ?? []).map((name) => [name, sampleOf(schema.properties?.[name] ?? {}, more)]);
    return Object.fromEntries(fields);
  }
  if (schema.type === "array") {
    return Array.from({ length: schema.minItems ?? 0 }, () => sampleOf(schema.items ?? {}, more));
  }
  if (schema.type === "integer" || schema.type === "number") return schema.minimum ?? 1;
  if (schema.type === "boolean") return false;
  return textFor(schema, more);
}

function textFor({ pattern, minLength = 0, maxLength = Number.POSITIVE_INFINITY }: Schema, more: readonly string[]) {
  const fits = (text: string) =>
    text.length >= minLength && text.length <= maxLength && new RegExp(pattern ?? "", "u").test(text);
  const text = [...more, ...texts].find(fits);
  if (text === undefined) throw new Error(`no sample fits ${pattern}: add one to daemons/tools/testing/sample.ts`);
  return text;
}
