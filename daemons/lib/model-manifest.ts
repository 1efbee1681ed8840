import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { parse, stringify, TomlError } from "smol-toml";
import { AiosError, messageOf } from "./errors.ts";

/** The purposes of models. */
const roles = ["operational", "tactical", "embedding", "bring-up"] as const;
type Role = (typeof roles)[number];

/** One `[[model]]` of models.toml. Empty and 0 mean "not known" or "the runtime's choice". */
export interface ModelEntry {
  readonly name: string;
  /** File name in the models' folder. */
  readonly file: string;
  /** http or https address that it is pulled from. */
  readonly url: string;
  /** A file outside of the models' folder: on the machine where it lies, for the image's build where it is copied from. */
  readonly path: string;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly role: Role | "";
  /** Tokens of context for each sequence. */
  readonly contextTokens: number;
  /** Layers on a GPU; -1 = as many as fit. */
  readonly gpuLayers: number;
}

/** At most this many entries in one manifest, and bytes of one. */
const entriesMax = 1_000;
const bytesMax = 1_048_576;

/** More tokens or layers than any model has. */
const contextTokensMax = 16_777_216;
const gpuLayersMax = 10_000;

type Check = { readonly key: keyof ModelEntry; readonly expected: string; accepts(value: unknown): boolean };

const textThat = (key: keyof ModelEntry, pattern: RegExp, expected: string): Check => ({
  key,
  expected,
  accepts: (value) => typeof value === "string" && pattern.test(value),
});
const wholeFrom = (key: keyof ModelEntry, least: number, most: number): Check => ({
  key,
  expected: `a whole number from ${least} to ${most}`,
  accepts: (value) => typeof value === "number" && Number.isInteger(value) && value >= least && value <= most,
});

/** The keys of an entry, as they are written, and what each may be. */
const keys: Readonly<Record<string, Check>> = {
  name: textThat(
    "name",
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    "letters, digits, dots, dashes and underscores, at most 128",
  ),
  file: textThat("file", /^$|^(?!\.)[^/\p{Cc}]{1,245}\.gguf$/iu, "a file name that ends in .gguf, without a folder"),
  url: textThat("url", /^$|^https?:\/\/[^\s/]+\/\S*$/, "an http or https address"),
  path: textThat("path", /^$|^\/[^\0]{1,4095}$/, "an absolute path"),
  sha256: textThat("sha256", /^$|^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"),
  size_bytes: wholeFrom("sizeBytes", 0, Number.MAX_SAFE_INTEGER),
  role: textThat("role", /^$|^(operational|tactical|embedding|bring-up)$/, `one of ${roles.join(", ")}`),
  context_tokens: wholeFrom("contextTokens", 0, contextTokensMax),
  gpu_layers: wholeFrom("gpuLayers", -1, gpuLayersMax),
};

const unknown: ModelEntry = {
  ...{ name: "", file: "", url: "", path: "", sha256: "", sizeBytes: 0, role: "", contextTokens: 0, gpuLayers: -1 },
};

/**
 * The entry that `fields` describe; what is missing is not known. `file` is taken from the path's or the address' end.
 * Throws INVALID_ARGUMENT with `where`, the key and what was expected.
 */
export function modelEntry(fields: Partial<ModelEntry>, where = "model"): ModelEntry {
  const entry = { ...unknown, ...fields };
  const file = entry.file || fileIn(entry.path) || fileIn(entry.url);
  const whole = { ...entry, file };
  for (const [key, check] of Object.entries(keys)) {
    const value = whole[check.key];
    if (!check.accepts(value)) throw wrong(where, key, `${JSON.stringify(value)} is not ${check.expected}`);
  }
  if (file === "") throw wrong(where, "file", "the key is missing, and neither path nor url ends in a file name");
  return whole;
}

function fileIn(address: string): string {
  const path = /^https?:/.test(address) ? address.replace(/[?#].*$/, "") : address;
  return /\.gguf$/i.test(path) ? decodeURIComponent(basename(path)) : "";
}

/**
 * The entries of a manifest's text. Written by hand rather than with the schema checker: the runtime reads one at each boot,
 * before it may load a model, and the checker alone takes longer to load than that.
 * Throws INVALID_ARGUMENT with file, line or entry, key and what was expected.
 */
export function parseManifest(text: string, file: string): ModelEntry[] {
  if (text.length > bytesMax) throw wrong(file, "model", `the file has more than ${bytesMax} bytes`);
  const { model = [], ...rest } = parseTables(text, file);
  const [extra] = Object.keys(rest);
  if (extra !== undefined) throw wrong(file, extra, "no such key; entries are [[model]]");
  if (!Array.isArray(model)) throw wrong(file, "model", "expected [[model]], a list");
  if (model.length > entriesMax) throw wrong(file, "model", `${model.length} entries, at most ${entriesMax}`);
  const entries = model.map((fields: unknown, at) => readEntry(fields, `${file}: model ${at + 1}`));
  const names = entries.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw wrong(file, "name", `${twice} is there twice`);
  return entries;
}

function parseTables(text: string, file: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    const line = error instanceof TomlError ? error.line : 1;
    throw wrong(`${file}:${line}`, "TOML", messageOf(error).split("\n")[0] ?? "");
  }
}

function readEntry(fields: unknown, where: string): ModelEntry {
  if (typeof fields !== "object" || fields === null) throw wrong(where, "model", "expected a table");
  const named: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    const check = keys[key];
    if (check === undefined) throw wrong(where, key, `no such key; there are ${Object.keys(keys).join(", ")}`);
    if (!check.accepts(value)) throw wrong(where, key, `${JSON.stringify(value)} is not ${check.expected}`);
    named[check.key] = value;
  }
  return modelEntry(named as Partial<ModelEntry>, where);
}

function wrong(where: string, key: string, reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read",
    object: where,
    reason: `${key}: ${reason}`,
    next: "correct it",
  });
}

/** The entries in the file `path`; none when there is no such file. Throws as {@link parseManifest}. */
export function readManifest(path: string): ModelEntry[] {
  return existsSync(path) ? parseManifest(readFileSync(path, "utf8"), path) : [];
}

/** A manifest's text. Keys that are not known are left out. */
export function formatManifest(entries: readonly ModelEntry[], comment: string): string {
  const model = entries.map((entry) =>
    Object.fromEntries(
      Object.entries(keys)
        .map(([key, check]) => [key, entry[check.key]] as const)
        .filter(([key, value]) => (key === "gpu_layers" ? value !== -1 : value !== "" && value !== 0)),
    ),
  );
  const head = comment.replace(/^/gm, "# ");
  return entries.length === 0 ? `${head}\n` : `${head}\n\n${stringify({ model })}`;
}

/** `over` merged into `under` by name: what `over` knows of a model wins, and what it leaves open is taken from `under`. */
export function mergeManifests(under: readonly ModelEntry[], over: readonly ModelEntry[]): ModelEntry[] {
  const merged = new Map(under.map((entry) => [entry.name, entry]));
  for (const entry of over) {
    const below = merged.get(entry.name);
    merged.set(entry.name, below === undefined ? entry : mergeEntries(below, entry));
  }
  return [...merged.values()];
}

function mergeEntries(under: ModelEntry, over: ModelEntry): ModelEntry {
  // An address of one's own comes with a hash and size of one's own: those of another file must not be held against it.
  const moved = (over.url !== "" && over.url !== under.url) || over.file !== under.file;
  const below = moved ? { ...under, sha256: "", sizeBytes: 0 } : under;
  const known = Object.entries(over).filter(([key, value]) =>
    key === "gpuLayers" ? value !== -1 : value !== "" && value !== 0,
  );
  return { ...below, ...Object.fromEntries(known) };
}
