/**
 * Text with holes, as procedures write it.
 *
 *     {path}                                a parameter of the goal
 *     ${disk.percent}                       a field of what the step "disk" gave
 *     ${write.input.content}                a field of what the step "write" was given
 *     ${list.entries|{type} {name}}         a line for each element of a list, from the element's own fields
 *     {{                                    a brace, also after a $
 *
 * A value is put in once and never read as a template again: what a person or a file says stays data.
 */

import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import type { Json, JsonObject } from "./json.ts";
import type { ParameterValue } from "./phrase.ts";

export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "parameter"; readonly name: string }
  | {
      readonly kind: "output";
      readonly step: string;
      readonly field: readonly string[];
      readonly line?: readonly Part[];
    };

/** Values for the holes. */
export interface Values {
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** By step: what it was given and what it gave. */
  readonly steps: Readonly<Record<string, { readonly input: JsonObject; readonly output: JsonObject } | undefined>>;
}

const fieldName = "[A-Za-z0-9_-]+";
const parameterPattern = new RegExp(`^\\{(${fieldName}(?:\\.${fieldName})*)\\}`);
const outputPattern = new RegExp(`^\\$\\{(${fieldName})((?:\\.${fieldName})+)([|}])`);

/** The parts of a template. Throws INVALID_ARGUMENT that shows where it is wrong. */
export function parseTemplate(text: string): Part[] {
  const parts: Part[] = [];
  let literal = "";
  const push = (part: Part) => {
    if (literal !== "") parts.push({ kind: "text", text: literal });
    literal = "";
    parts.push(part);
  };
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at);
    if (rest.startsWith("{{")) {
      literal += "{";
      at += 2;
    } else if (rest.startsWith("${{")) {
      literal += "${";
      at += 3;
    } else if (rest.startsWith("${")) {
      const { part, length } = parseOutput(rest, text);
      push(part);
      at += length;
    } else if (rest.startsWith("{")) {
      const found = parameterPattern.exec(rest);
      if (found === null) throw wrong(text, rest);
      push({ kind: "parameter", name: found[1] ?? "" });
      at += found[0].length;
    } else {
      literal += rest[0];
      at += 1;
    }
  }
  if (literal !== "") parts.push({ kind: "text", text: literal });
  return parts;
}

/** A text as a template that gives exactly this text. */
export function literalTemplate(text: string): string {
  return text.replaceAll("{", "{{");
}

/** Parts as a template again. */
export function writeTemplate(parts: readonly Part[]): string {
  return parts.map(writePart).join("");
}

function writePart(part: Part): string {
  if (part.kind === "text") return literalTemplate(part.text);
  if (part.kind === "parameter") return `{${part.name}}`;
  const line = part.line === undefined ? "" : `|${writeTemplate(part.line)}`;
  return `\${${[part.step, ...part.field].join(".")}${line}}`;
}

/** Maps every text in `value`, however deep. */
export function mapTexts(value: Json, make: (text: string) => string): Json {
  if (typeof value === "string") return make(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item: Json) => mapTexts(item, make));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTexts(item, make)]));
}

function parseOutput(rest: string, text: string): { part: Part; length: number } {
  const found = outputPattern.exec(rest);
  if (found === null) throw wrong(text, rest);
  const [head, step = "", field = "", end] = found;
  const part = { kind: "output", step, field: field.slice(1).split(".") } as const;
  if (end === "}") return { part, length: head.length };
  const close = closingBrace(rest, head.length);
  if (close < 0) throw wrong(text, rest);
  const line = parseTemplate(rest.slice(head.length, close));
  if (line.some(({ kind }) => kind === "output")) throw wrong(text, rest);
  return { part: { ...part, line }, length: close + 1 };
}

/** Index of the brace that closes a hole whose inside begins at `from`; -1 when there is none. */
function closingBrace(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && depth === 0) return at;
    else if (text[at] === "}") depth -= 1;
  }
  return -1;
}

function wrong(text: string, rest: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read template",
    object: JSON.stringify(text),
    reason: `${JSON.stringify(beginning(rest, 30))} is neither {parameter} nor \${step.field}`,
    next: "write {{ for a brace",
  });
}

/** Every text in `value`, however deep. */
export function textsIn(value: Json): string[] {
  if (typeof value === "string") return [value];
  if (value === null || typeof value !== "object") return [];
  return Object.values(value as Json[] | JsonObject).flatMap(textsIn);
}

/** `value` with every text filled. A text that is one hole and nothing else keeps its value's type. */
export function fill(value: Json, values: Values): Json {
  if (typeof value === "string") return fillText(value, values);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item: Json) => fill(item, values));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, values)]));
}

export function fillObject(value: JsonObject, values: Values): JsonObject {
  return fill(value, values) as JsonObject;
}

function fillText(text: string, values: Values): Json {
  const parts = parseTemplate(text);
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && only.kind !== "text") return holeValue(only, values);
  return parts.map((part) => spoken(holeValue(part, values))).join("");
}

function holeValue(part: Part, values: Values): Json {
  if (part.kind === "text") return part.text;
  if (part.kind === "parameter") {
    const value = values.parameters[part.name];
    if (value === undefined) throw missing(`the goal has no parameter ${part.name}`);
    return value;
  }
  const step = values.steps[part.step];
  if (step === undefined) throw missing(`the step ${part.step} has not run`);
  const [first, ...inner] = part.field;
  const value = first === "input" ? dig(step.input, inner) : dig(step.output, part.field);
  if (value === undefined) throw missing(`the step ${part.step} gave no ${part.field.join(".")}`);
  return part.line === undefined ? value : lines(value, part.line);
}

function dig(value: Json, field: readonly string[]): Json | undefined {
  return field.reduce<Json | undefined>((inner, name) => {
    if (inner === null || typeof inner !== "object" || !Object.hasOwn(inner, name)) return undefined;
    return (inner as JsonObject)[name];
  }, value);
}

/** One line for each element, "none" without any; {item} is the element itself. */
function lines(value: Json, line: readonly Part[]): string {
  if (!Array.isArray(value)) throw missing(`a list is wanted, not ${JSON.stringify(value)}`);
  if (value.length === 0) return spoken(value);
  return value
    .map((item: Json) =>
      line
        .map((part) => {
          if (part.kind === "text") return part.text;
          const field = part.kind === "parameter" ? part.name : "";
          return spoken((field === "item" ? item : dig(item, field.split("."))) ?? null);
        })
        .join(""),
    )
    .join("\n");
}

/** A value as a person reads it: numbers with at most two decimals, lists with commas, nothing as "none". */
function spoken(value: Json): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(Math.round(value * 100) / 100);
  if (value === null) return "none";
  if (Array.isArray(value) && value.every((item) => item === null || typeof item !== "object")) {
    return value.length === 0 ? "none" : value.map(spoken).join(", ");
  }
  return JSON.stringify(value);
}

function missing(reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act: "fill", object: "a template", reason });
}
