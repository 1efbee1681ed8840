import type { JsonObject } from "../../json.ts";
import { type ParameterType, unfit } from "../../phrase.ts";
import type { PlannedStep } from "../../plan.ts";
import { mapTexts, type Part, parseTemplate, textsIn, writeTemplate } from "../../template.ts";

/** The deeds for a goal, so that they can be done for others that differ in their parameters only. */
interface General {
  /** The goal's words, its parameters as holes: "proxy port {number}". */
  readonly phrase: string;
  readonly parameters: Readonly<Record<string, ParameterType>>;
  readonly result: string;
  readonly steps: readonly PlannedStep[];
}

/** At most this many parameters of one procedure: a goal with more is not one to be said again. */
const parametersMax = 8;

interface Value {
  readonly type: ParameterType;
  readonly said: string;
  readonly from: number;
  readonly to: number;
}

/** Shapes of parameters, in the order in which they are looked for: a text that is found is not looked into again. */
const shapes: readonly (readonly [ParameterType, RegExp])[] = [
  ["text", /"([^"]+)"|'([^']+)'/g],
  ["url", /https?:\/\/[^\s"'<>]*[^\s"'<>.,;:!?]/gi],
  ["path", /(?<![^\s"'(=])\/[^\s"']*[^\s"'.,;:!?]/g],
  ["number", /(?<![\w.-])\d{2,15}(?![\w-]|\.\d)/g],
  ["name", /(?<![\w./-])[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9](?![\w/-])/g],
];

/**
 * Makes a plan that has worked general: what the goal names and the plan uses becomes a parameter. A word becomes one only
 * when every value of the plan that holds it is this word: "nginx" is in paths and programs too, so a plan for nginx stays
 * one for nginx.
 */
export function generalise(
  description: string,
  plan: { readonly steps: readonly PlannedStep[]; readonly result: string },
): General {
  const texts = plan.steps.flatMap(({ input, expect }) => [...literalsIn(input), ...literalsIn(expect)]);
  const values = valuesIn(description).filter((value) => isUsed(value, texts));
  const chosen = withoutClashes(values, texts)
    .slice(0, parametersMax)
    .toSorted((a, b) => a.from - b.from);
  const named = nameAll(chosen);
  const put = (text: string) => withHoles(text, named, false);
  const tell = (text: string) => withHoles(text, named, true);
  const steps = plan.steps.map((step) => ({
    ...step,
    description: tell(step.description),
    input: mapTexts(numbersAsHoles(step.input, named), put) as JsonObject,
    expect: mapTexts(numbersAsHoles(step.expect, named), put) as JsonObject,
  }));
  return {
    phrase: phraseOf(description, named),
    parameters: Object.fromEntries(named.map(({ name, type }) => [name, type])),
    result: tell(plan.result),
    steps,
  };
}

function valuesIn(description: string): Value[] {
  const found: Value[] = [];
  for (const [type, pattern] of shapes) {
    for (const match of description.matchAll(pattern)) {
      const said = match[1] ?? match[2] ?? match[0];
      const [from, to] = [match.index, match.index + match[0].length];
      const taken = found.some((other) => from < other.to && other.from < to);
      if (!taken && unfit(type, said) === undefined) found.push({ type, said, from, to });
    }
  }
  return found.flatMap((value) => (value.type === "url" ? [value, ...portOf(value)] : [value]));
}

/** The port in an address, as a value of its own. */
function portOf({ said, from }: Value): Value[] {
  const found = /^https?:\/\/[^/:]+:(\d{2,5})/i.exec(said);
  const port = found?.[1];
  if (found === null || port === undefined) return [];
  const end = from + found[0].length;
  return [{ type: "number", said: port, from: end - port.length, to: end }];
}

/** Whether a plan uses a value so that another could take its place. */
function isUsed({ type, said }: Value, texts: readonly string[]): boolean {
  if (type !== "name") return texts.some((text) => placesOf(said, type, text).length > 0);
  const lower = said.toLowerCase();
  const holding = texts.filter((text) => text.toLowerCase().includes(lower));
  return holding.length > 0 && holding.every((text) => text === said);
}

/** The texts of a value that are not holes, numbers among them. */
function literalsIn(value: JsonObject): string[] {
  const texts = textsIn(value).flatMap((text) =>
    parseTemplate(text).flatMap((part) => (part.kind === "text" ? [part.text] : [])),
  );
  return [...texts, ...numbersIn(value)];
}

function numbersIn(value: unknown): string[] {
  if (typeof value === "number") return [String(value)];
  return value !== null && typeof value === "object" ? Object.values(value).flatMap(numbersIn) : [];
}

/**
 * An address and the port in it cannot both be parameters: the port is, when the plan uses it beside the whole address.
 * A value that is said twice is none: it could not be told which of the two is meant.
 */
function withoutClashes(values: readonly Value[], texts: readonly string[]): Value[] {
  const isTwice = (value: Value) => values.some((other) => other !== value && other.said === value.said);
  const single = values.filter((value) => !isTwice(value));
  const dropped = new Set<Value>();
  for (const url of single.filter(({ type }) => type === "url")) {
    const port = single.find((value) => value !== url && url.from <= value.from && value.to <= url.to);
    if (port !== undefined) dropped.add(isUsedBeside(port, url, texts) ? url : port);
  }
  return single.filter((value) => !dropped.has(value));
}

function isUsedBeside(port: Value, url: Value, texts: readonly string[]): boolean {
  return isUsed(
    port,
    texts.map((text) => text.replaceAll(url.said, "")),
  );
}

interface Named extends Value {
  readonly name: string;
}

/** "path", "path_two", …; a number after its word: "port". */
function nameAll(values: readonly Value[]): Named[] {
  const counts = new Map<string, number>();
  return values.map((value) => {
    const count = (counts.get(value.type) ?? 0) + 1;
    counts.set(value.type, count);
    return { ...value, name: count === 1 ? value.type : `${value.type}_${"abcdefgh"[count - 1]}` };
  });
}

function phraseOf(description: string, named: readonly Named[]): string {
  let phrase = "";
  let at = 0;
  for (const { from, to, name } of named) {
    phrase += `${description.slice(at, from)}{${name}}`;
    at = to;
  }
  return (phrase + description.slice(at)).trim().replace(/[.!?]+$/, "");
}

/** Where a value stands in a text, not as a part of a longer one. */
function placesOf(said: string, type: ParameterType, text: string): number[] {
  const before = type === "path" ? "(?<![\\w./$-])" : "(?<![\\w.$-])";
  const after = type === "path" ? "(?![\\w-]|\\.\\w)" : "(?![\\w-]|\\.\\d)";
  const plain = said.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`${type === "text" ? "" : before}${plain}${type === "text" ? "" : after}`, "g");
  return [...text.matchAll(pattern)].map(({ index }) => index);
}

/** `told`: the text is for people, where a name stands among other words. */
function withHoles(template: string, named: readonly Named[], told: boolean): string {
  let parts = parseTemplate(template);
  // The longer first: a path may be the beginning of another.
  for (const value of named.toSorted((a, b) => b.said.length - a.said.length)) {
    parts = parts.flatMap((part) => (part.kind === "text" ? split(part.text, value, told) : [part]));
  }
  return writeTemplate(parts);
}

function split(text: string, { said, type, name }: Named, told: boolean): Part[] {
  if (type === "name" && !told && text !== said) return [{ kind: "text", text }];
  const parts: Part[] = [];
  let at = 0;
  for (const place of placesOf(said, type, text)) {
    if (place < at) continue;
    if (place > at) parts.push({ kind: "text", text: text.slice(at, place) });
    parts.push({ kind: "parameter", name });
    at = place + said.length;
  }
  return at < text.length ? [...parts, { kind: "text", text: text.slice(at) }] : parts;
}

/** Numbers that are a parameter become the text of its hole, which gives a number again. */
function numbersAsHoles(value: JsonObject, named: readonly Named[]): JsonObject {
  const holeOf = (item: unknown): unknown => {
    if (typeof item === "number") {
      const found = named.find(({ type, said }) => type === "number" && Number(said) === item);
      return found === undefined ? item : holeMark(found.name);
    }
    if (Array.isArray(item)) return item.map(holeOf);
    if (item === null || typeof item !== "object") return item;
    return Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, holeOf(inner)]));
  };
  return holeOf(value) as JsonObject;
}

const holeMark = (name: string) => `{${name}}`;
