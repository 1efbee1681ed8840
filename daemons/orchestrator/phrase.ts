/**
 * A phrase is understood loosely, what is said in it to the letter. Between the phrase's own words articles, "please"
 * and "now" come as they like, and a full stop may end the sentence; "on port" and "for port" are two things. A
 * parameter is a span of what was typed: nothing is taken out of it but one pair of quotes that encloses the whole. Of
 * two phrases that fit, the one that says more wins; where two say as much and mean something else, the goal is not
 * understood. A text without quotes that goes on with an instruction or a condition ("… and make it readable only by
 * root") is not taken for content. What a phrase cannot account for is not understood, and a model may plan it.
 */
import { AiosError } from "#lib/errors";
import { cut } from "#lib/text";
import { endOfText, isTelling } from "./text-ends.ts";

/**
 * Types of a parameter: an absolute path, the name of a thing, a whole number, an http(s) address, where a git
 * repository is, any text, or a text of one word ("*.log"), of more in quotes only.
 */
export const parameterTypes = ["path", "name", "number", "url", "remote", "text", "pattern"] as const;
export type ParameterType = (typeof parameterTypes)[number];

/** A parameter's value: a number is one also where a template's only hole takes it. */
export type ParameterValue = string | number;

/** A goal as a phrase reads it. */
export interface Reading {
  /** The parameters as they were said: each a span of the goal's words, without the quotes that enclose it. */
  readonly said: Readonly<Record<string, string>>;
  /** Of a path that ends where the sentence does: how it would read with the mark that was taken for the sentence's. */
  readonly unsure: Readonly<Record<string, string>>;
  /** Why it cannot be told where a text ends, or whether it is one; empty when it can. */
  readonly doubt: string;
  /** Texts that were said without quotes. */
  readonly bare: readonly string[];
}

/** One way to say a goal: "report disk usage to {path}". */
export interface Phrase {
  readonly text: string;
  /** Undefined when a goal is of another kind. */
  match(description: string): Reading | undefined;
  readonly parameters: readonly string[];
  /** Letters that are not a parameter's: of two phrases that fit, the one with more says more exactly what is meant. */
  readonly weight: number;
}

/** Words that change nothing of what is meant, as long as they stand outside of values; "on port 80" and "for port 80" are two things. */
const fillers = "please,?|a|an|the|me|now";
const isFiller = new RegExp(`^(?:${fillers})$`, "i");

/** Characters that part words. Other spaces, such as one that must not be broken at, are letters of a name. */
export const spaces = " \\t\\r\\n\\f\\v";
const space = `[${spaces}]`;
const letter = `[^${spaces}]`;

const quoted = `"[^"]+"|'[^']+'`;
/** A word that is not a filler: what is called "now" is said in quotes. */
const word = `(?!(?:${fillers})[.!?,]*(?:${space}|$))[^${spaces}"']${letter}*?`;

/** A word, or words in quotes; a text may have spaces without them. As short as can be: a full stop after it is none of it. */
const anyText = `"[^"]*"|'[^']*'|${letter}|${letter}[\\s\\S]*${letter}`;
const shapes: Readonly<Record<ParameterType, string>> = {
  path: `${quoted}|${word}`,
  name: `${quoted}|${word}`,
  remote: `${quoted}|${word}`,
  number: "\\d+",
  url: `"https?://[^"]+"|'https?://[^']+'|https?://${letter}+?`,
  text: anyText,
  pattern: anyText,
};

const isText = (type: ParameterType | undefined) => type === "text" || type === "pattern";

const gap = `${space}+`;
/** Between two words of a phrase, or before a value of one word. */
const looseGap = `${space}+(?:(?:${fillers})${space}+)*`;
const politeness = `(?:,?${space}+(?:please|now))`;

/**
 * Patterns of what may come after a phrase, by what it ends with. After a text nothing may: every word of it counts,
 * unless it is in quotes.
 */
const ends = {
  words: `${politeness}*${space}*[.!?]*`,
  value: `(?<MARK>(?<![./])[.!?,])?(?:${politeness}+[.!?]*)?`,
  text: `(?:(?<=["'])${politeness}*[.!?]?)?`,
} as const;

/**
 * Understands a phrase: its own words in any case and spacing, with articles, "please" and "now" as they come. A parameter is
 * exactly what was said.
 */
export function compilePhrase(text: string, types: Readonly<Record<string, ParameterType>>): Phrase {
  const chunks = chunksOf(text, types);
  const parameters = chunks.flatMap(({ holes }) => holes);
  const twice = parameters.find((name, at) => parameters.indexOf(name) !== at);
  if (twice !== undefined) throw wrong(text, twice);
  const last = chunks.at(-1)?.endsWith === "value" ? parameters.at(-1) : undefined;
  const words = chunks.flatMap(({ holes, plain }) => (holes.length === 0 ? [plain.toLowerCase()] : []));
  let compiled: Compiled | undefined;

  return {
    text,
    parameters,
    weight: chunks.reduce((sum, { letters }) => sum + letters, 0),
    match(description) {
      // Most goals lack one of its words: for those nothing is compiled, which costs a thousand times as much as looking.
      const lower = description.toLowerCase();
      if (!words.every((word) => lower.includes(word))) return undefined;
      compiled ??= compiledOf(chunks, types);
      const found = compiled.pattern.exec(description);
      if (found === null) return undefined;
      const { MARK: mark, ...groups } = found.groups ?? {};
      const raw = (name: string) => groups[name] ?? "";
      const bare = parameters.filter((name) => isText(types[name]) && isBare(raw(name)));
      const { rests } = compiled;
      const doubts = bare
        .map((name) => doubtOf(raw(name), rests.get(name), types[name] === "pattern", text.includes(`: {${name}}`)))
        .filter((doubt) => doubt !== "");
      const open = mark !== undefined && last !== undefined && types[last] === "path" && isBare(raw(last));
      return {
        said: Object.fromEntries(parameters.map((name) => [name, withoutQuotes(raw(name))])),
        unsure: open ? { [last]: raw(last) + mark } : {},
        doubt: doubts[0] ?? "",
        bare,
      };
    },
  };
}

interface Compiled {
  readonly pattern: RegExp;
  /** By text that does not end its phrase: what the phrase goes on with. A text that holds that too could end before it. */
  readonly rests: ReadonlyMap<string, RegExp>;
}

function compiledOf(chunks: readonly Chunk[], types: Readonly<Record<string, ParameterType>>): Compiled {
  const start = chunks[0]?.opensText ? `^${space}*` : `^${space}*(?:(?:${fillers})${space}+)*`;
  const pattern = new RegExp(`${start}${patternOf(chunks)}${ends[chunks.at(-1)?.endsWith ?? "words"]}${space}*$`, "i");
  return { pattern, rests: restsOf(chunks, types) };
}

/** A part between two spaces of a phrase: a word, a parameter, or both: "http://127.0.0.1:{port}". */
interface Chunk {
  readonly plain: string;
  readonly source: string;
  /** The same without names, and only for values that fit their type. */
  readonly fitting: string;
  readonly holes: readonly string[];
  readonly letters: number;
  readonly opensText: boolean;
  readonly endsWith: keyof typeof ends;
}

function chunksOf(text: string, types: Readonly<Record<string, ParameterType>>): Chunk[] {
  const all = text
    .trim()
    .split(/\s+/)
    .map((chunk) => ({ chunk, read: readChunk(chunk, text, types) }));
  // Beside a text a filler is the phrase's own word: without it, it would be the text's.
  const needed = all.filter(({ chunk }, at) => {
    if (!isFiller.test(chunk)) return true;
    return all[at - 1]?.read.endsWith === "text" || all[at + 1]?.read.opensText === true;
  });
  return (needed.length === 0 ? all : needed).map(({ read }) => read);
}

function readChunk(chunk: string, text: string, types: Readonly<Record<string, ParameterType>>): Chunk {
  const pieces = chunk.split(/(\{[a-z_]+\})/).filter((piece) => piece !== "");
  const nameIn = (piece = "") => /^\{([a-z_]+)\}$/.exec(piece)?.[1];
  const typeIn = (piece = "") => types[nameIn(piece) ?? ""];
  const unknown = pieces.find((piece) => nameIn(piece) !== undefined && typeIn(piece) === undefined);
  if (unknown !== undefined) throw wrong(text, nameIn(unknown) ?? "");
  const sourceOf = (hole: (type: ParameterType, name: string) => string) =>
    pieces.map((piece) => {
      const type = typeIn(piece);
      if (type === undefined) return piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
      return hole(type, nameIn(piece) ?? "");
    });
  const last = pieces.at(-1);
  return {
    plain: chunk,
    source: sourceOf((type, name) => `(?<${name}>${shapes[type]})`).join(""),
    fitting: sourceOf((type) => (type === "path" ? `["']?/\\S*?` : `(?:${shapes[type]})`)).join(""),
    holes: pieces.flatMap((piece) => nameIn(piece) ?? []),
    letters: pieces.filter((piece) => nameIn(piece) === undefined).join("").length,
    opensText: isText(typeIn(pieces[0])),
    endsWith: nameIn(last) === undefined ? "words" : isText(typeIn(last)) ? "text" : "value",
  };
}

function patternOf(chunks: readonly Chunk[]): string {
  return chunks.map((chunk, at) => (at === 0 ? "" : gapBetween(chunks[at - 1], chunk)) + chunk.source).join("");
}

function gapBetween(before: Chunk | undefined, after: Chunk): string {
  // After a value a filler could be the rest of a name that was said without quotes.
  return before?.endsWith !== "words" || after.opensText ? gap : looseGap;
}

function restsOf(
  chunks: readonly Chunk[],
  types: Readonly<Record<string, ParameterType>>,
): ReadonlyMap<string, RegExp> {
  const rests = chunks.slice(0, -1).flatMap(({ holes, endsWith }, at): [string, RegExp][] => {
    const name = holes.at(-1);
    if (name === undefined || endsWith !== "text" || !isText(types[name])) return [];
    const after = chunks.slice(at + 1);
    return [
      [
        name,
        new RegExp(
          `${gap}${patternOf(after.map((chunk) => ({ ...chunk, source: chunk.fitting })))}(?=[\\s.!?,;]|$)`,
          "i",
        ),
      ],
    ];
  });
  return new Map(rests);
}

function doubtOf(text: string, rest: RegExp | undefined, isOneWord: boolean, isIntroduced: boolean): string {
  const more = isOneWord ? text.split(new RegExp(gap)).slice(1).join(" ") : "";
  const further = rest?.exec(text)?.[0].trim() ?? (more || endOfText(text, isIntroduced));
  const end = "put the text in quotes";
  if (further !== "") return `the text could end before ${JSON.stringify(cut(further, quotedLengthMax))}: ${end}`;
  return !isOneWord && isTelling(text)
    ? `${JSON.stringify(cut(text, quotedLengthMax))} may only tell of a text: ${end}`
    : "";
}

const enclosed = /^(?:"([^"]*)"|'([^']*)')$/;

const isBare = (raw: string): boolean => !enclosed.test(raw);

/** One pair of quotes that encloses the whole, with no further such quote inside, is no part of the value; all others are. */
export function withoutQuotes(raw: string): string {
  const found = enclosed.exec(raw);
  return found === null ? raw : (found[1] ?? found[2] ?? "");
}

/** Reads what was said as a value of this type, or says why it cannot be one. */
export function readParameter(type: ParameterType, said: string): ParameterValue | { readonly reason: string } {
  const reason = unfit(type, said);
  if (reason !== undefined) return { reason };
  return type === "number" ? Number(said) : said;
}

/** Characters of a value that its reason repeats. */
const quotedLengthMax = 100;

/** Why `value` cannot be a parameter of this type; undefined when it can. */
export function unfit(type: ParameterType, value: string): string | undefined {
  const told = JSON.stringify(cut(value, quotedLengthMax));
  if (type === "path" && !value.startsWith("/")) return `${told} is not an absolute path`;
  if (type === "path" && value.includes("\0")) return `${told} is not a path`;
  if (type === "name" && !/^[A-Za-z0-9][A-Za-z0-9@._:+-]{0,127}$/.test(value)) return `${told} is not a name`;
  if (type === "number" && !/^\d{1,15}$/.test(value)) return `${told} is not a whole number`;
  if (type === "url" && !isWebAddress(value)) return `${told} is not an http or https address`;
  if (type === "remote" && !isRemote(value)) return `${told} is neither a repository's address nor an absolute path`;
  return undefined;
}

function isWebAddress(value: string): boolean {
  return /^https?:\/\/[^\s"'<>]+$/i.test(value) && URL.canParse(value);
}

/** As git's tools take it. */
function isRemote(value: string): boolean {
  if (value.startsWith("/")) return !value.includes("\0");
  return /^(?:(?:https?|ssh|git):\/\/|file:\/\/\/|\w[\w.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:)[^\s"'<>]+$/.test(value);
}

function wrong(text: string, name: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read phrase",
    object: JSON.stringify(text),
    reason: `{${name}} is not declared under [parameters], or is there twice`,
  });
}
