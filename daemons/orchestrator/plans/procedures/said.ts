/**
 * Decides what of a plan a person has said: the one place that decides it, for procedures, for what was learned, and
 * for models' plans.
 */
import { posix } from "node:path";
import { type ParameterType, type ParameterValue, readParameter, spaces, withoutQuotes } from "../../phrase.ts";
import type { Objective } from "../../plan.ts";

/** How a way to a goal declares its parameters. */
export interface Declaration {
  readonly parameters: Readonly<Record<string, ParameterType>>;
  /** Values of parameters that are not said. */
  readonly defaults?: Readonly<Record<string, ParameterValue>>;
  /** Questions to the person for parameters that are neither said nor have a default. */
  readonly questions?: Readonly<Record<string, string>>;
  /** By path: another path, in whose folder it lies when only its name is said. */
  readonly beside?: Readonly<Record<string, string>>;
}

/** Parameters, each said, answered, declared or converted as is declared; or what is missing, or wrong with one. */
type Parameters =
  | { readonly values: Readonly<Record<string, ParameterValue>> }
  | { readonly question: string }
  | { readonly reason: string };

/** A question whose answers cannot be used is asked so often. */
const askedMax = 3;

/** The parameters of a goal from what was said of it. */
export function parametersFrom(
  said: Readonly<Record<string, string>>,
  declaration: Declaration,
  answers: Objective["answers"] = [],
): Parameters {
  const { parameters, defaults = {}, questions = {}, beside = {} } = declaration;
  const values: Record<string, ParameterValue> = {};
  for (const [key, type] of Object.entries(parameters)) {
    const question = questions[key] ?? "";
    const given = said[key] ?? defaults[key];
    // Asked again, it says what was wrong with the answer before.
    const asked = given === undefined ? answers.filter((one) => one.question.startsWith(question)) : [];
    const answer = asked.at(-1)?.answer;
    const value = given ?? (answer === undefined ? undefined : valueInAnswer(type, answer));
    if (value === undefined) return { question };
    const folder = beside[key] === undefined ? undefined : said[beside[key]];
    const read = readParameter(type, folder === undefined ? String(value) : besidePath(String(value), folder));
    if (typeof read === "object") {
      if (asked.length > 0 && asked.length < askedMax) return { question: `${question} (${read.reason})` };
      return { reason: `${key}: ${read.reason}` };
    }
    values[key] = read;
  }
  return { values };
}

/** A person answers in a sentence what a phrase has as a word: "it is port 8081", "http://127.0.0.1:8081". */
function valueInAnswer(type: ParameterType, said: string): string {
  const answer = withoutQuotes(said.trim());
  if (type !== "number") return answer;
  const numbers = answer.match(/\d+/g) ?? [];
  return (/:(\d+)/.exec(answer)?.[1] ?? (numbers.length === 1 ? numbers[0] : undefined)) || answer;
}

/** "b" beside /srv/a is /srv/b; whatever has a slash, or is no name, is left as it is. */
function besidePath(said: string, path: string): string {
  if (said === "" || said === "." || said === ".." || said.includes("/")) return said;
  return posix.join(posix.dirname(path), said);
}

/**
 * Whether a person has named `value`: it stands in the goal's words or in an answer, as a whole and letter by letter. A path
 * before a full stop is not surely named, since the stop may be its own; in quotes it is.
 */
export function isSaid(value: string, { description, answers }: Pick<Objective, "description" | "answers">): boolean {
  const whole = isPath(value) ? value.replace(/\/$/, "") : value;
  return whole !== "" && [description, ...answers.map(({ answer }) => answer)].some((text) => standsIn(text, whole));
}

const isPath = (value: string) => value.length > 1 && value.startsWith("/");

const quotes = /(?<!\w)(?:"([^"]*)"|'([^']*)')(?!\w)/g;
const before = {
  // After a name and a colon it is another machine's.
  path: new RegExp(`(?:^|[${spaces}([=,;]|[${spaces}]:)$`),
  name: new RegExp(`(?:^|[${spaces}([=,;:])$`),
} as const;
const after = {
  path: new RegExp(`^/?[,;:)\\]]*(?:[${spaces}]|$)`),
  name: new RegExp(`^(?:'s\\b|[.,;:!?)\\]]*(?:[${spaces}]|$))`),
} as const;

function standsIn(text: string, value: string): boolean {
  const inQuotes = [...text.matchAll(quotes)];
  const kind = isPath(value) ? "path" : "name";
  for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
    const until = at + value.length;
    const around = inQuotes.find(({ 0: whole, index }) => index < until && at < index + whole.length);
    const inner = around?.[1] ?? around?.[2];
    if (inner === value || inner === `${value}/`) return true;
    if (inner === undefined && before[kind].test(text.slice(0, at)) && after[kind].test(text.slice(until))) return true;
  }
  return false;
}
