import { AiosError } from "#lib/errors";

/** What a parameter may be: an absolute path, the name of a thing, a whole number, an http(s) address, or any text. */
export const parameterTypes = ["path", "name", "number", "url", "text"] as const;
export type ParameterType = (typeof parameterTypes)[number];

/** A parameter's value: a number is one also where a template's only hole takes it. */
export type ParameterValue = string | number;

/** One way to say a goal: "report disk usage to {path}". */
export interface Phrase {
  readonly text: string;
  /** The parameters of a goal as they are said; undefined when it is of another kind. */
  match(description: string): Record<string, string> | undefined;
  readonly parameters: readonly string[];
  /** Letters that are not a parameter's: of two phrases that fit, the one with more says more exactly what is meant. */
  readonly weight: number;
}

/** A word, or words in quotes; a text may have spaces without them. As short as can be: a full stop after it is none of it. */
const shapes: Readonly<Record<ParameterType, string>> = {
  path: `"[^"]+"|'[^']+'|[^\\s"']\\S*?`,
  name: `"[^"]+"|'[^']+'|[^\\s"']\\S*?`,
  number: "\\d+",
  url: "https?://\\S+?",
  text: "[\\s\\S]+",
};

/** Words that change nothing of what is meant; "on port 80" and "for port 80" are two things. */
const fillers = /(?<![\w/])(?:please|a|an|the|me|now)(?![\w/])\s*/gi;

/**
 * Understands a phrase: words in any case and spacing, "please" before it if you like, articles and the like as they come.
 * Not so with texts, in which every word counts.
 */
export function compilePhrase(text: string, types: Readonly<Record<string, ParameterType>>): Phrase {
  const exact = compile(text, types);
  const { parameters, weight } = exact;
  const match: Phrase["match"] = (description) => parametersOf(exact, description);
  if (Object.values(types).includes("text")) return { text, parameters, weight, match };
  const plain = (words: string) => words.replaceAll(fillers, "").trim();
  const loose = compile(plain(text), types);
  return { text, parameters, weight, match: (said) => match(said) ?? parametersOf(loose, plain(said)) };
}

interface Compiled extends Pick<Phrase, "parameters" | "weight"> {
  readonly pattern: RegExp;
}

function compile(text: string, types: Readonly<Record<string, ParameterType>>): Compiled {
  const pieces = text.trim().split(/(\{[a-z_]+\})/);
  const parameters: string[] = [];
  let literals = "";
  const source = pieces.map((piece) => {
    const name = /^\{([a-z_]+)\}$/.exec(piece)?.[1];
    if (name === undefined) {
      literals += piece.replaceAll(/\s/g, "");
      return piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll(/\s+/g, "\\s+");
    }
    const type = types[name];
    if (type === undefined || parameters.includes(name)) throw wrong(text, name);
    parameters.push(name);
    return `(?<${name}>${shapes[type]})`;
  });
  // A full stop at the end belongs to a text that stands there; "/srv/.." has none.
  const last = text.trimEnd().endsWith("}") ? types[parameters.at(-1) ?? ""] : undefined;
  const full = last === "text" ? "" : "(?:(?<![./])[.!?])?";
  const pattern = new RegExp(`^\\s*(?:please\\s+)?${source.join("")}${full}\\s*$`, "i");
  return { pattern, parameters, weight: literals.length };
}

function parametersOf({ pattern, parameters }: Compiled, description: string): Record<string, string> | undefined {
  const found = pattern.exec(description);
  if (found === null) return undefined;
  return Object.fromEntries(parameters.map((name) => [name, unquoted(found.groups?.[name] ?? "")]));
}

/** What was said as a value of this type, or why it cannot be one. */
export function readParameter(type: ParameterType, said: string): ParameterValue | { readonly reason: string } {
  const reason = unfit(type, said);
  if (reason !== undefined) return { reason };
  return type === "number" ? Number(said) : said;
}

function unquoted(text: string): string {
  const trimmed = text.trim();
  const inner = /^"([\s\S]*)"$/.exec(trimmed)?.[1] ?? /^'([\s\S]*)'$/.exec(trimmed)?.[1];
  return inner ?? trimmed;
}

/** Characters of a value that its reason repeats. */
const quotedLengthMax = 100;

/** Why `value` cannot be a parameter of this type; undefined when it can. */
export function unfit(type: ParameterType, value: string): string | undefined {
  const told = JSON.stringify(value.length > quotedLengthMax ? `${value.slice(0, quotedLengthMax)}…` : value);
  if (type === "path" && !value.startsWith("/")) return `${told} is not an absolute path`;
  if (type === "path" && value.includes("\0")) return `${told} is not a path`;
  if (type === "name" && !/^[A-Za-z0-9][A-Za-z0-9@._:-]{0,127}$/.test(value)) return `${told} is not a name`;
  if (type === "number" && !/^\d{1,15}$/.test(value)) return `${told} is not a whole number`;
  if (type === "url" && !isWebAddress(value)) return `${told} is not an http or https address`;
  return undefined;
}

function isWebAddress(value: string): boolean {
  return /^https?:\/\/[^\s"'<>]+$/i.test(value) && URL.canParse(value);
}

function wrong(text: string, name: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read phrase",
    object: JSON.stringify(text),
    reason: `{${name}} is not declared under [parameters], or is there twice`,
  });
}
