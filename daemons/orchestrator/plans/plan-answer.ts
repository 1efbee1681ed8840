import { messageOf } from "#lib/errors";
import { saidJson } from "#lib/said-json";
import { cut } from "#lib/text";
import type { Json, JsonObject } from "../json.ts";
import type { Draft, Level, Objective, PlannedStep, Unusable } from "../plan.ts";
import { literalTemplate, mapTexts } from "../template.ts";
import { extraGrants } from "./extra-grants.ts";

/** At most this many questions of a goal to a person. */
const questionsMax = 3;

const lengthMax = { why: 500, question: 500, result: 1_000, name: 64, description: 200 } as const;

/** The model that has answered. */
export interface Author {
  /** "model aios-bringup", "gateway claude". */
  readonly origin: string;
  readonly level: Level;
  readonly model: string;
}

/** A model's answer as a draft: what it says is read as data, and only as far as it has the form of a plan. */
export function readPlan(text: string, author: Author, objective: Objective): Draft | Unusable {
  let said: unknown;
  try {
    said = JSON.parse(saidJson(text));
  } catch (error) {
    return { faults: [`the answer is not JSON: ${messageOf(error)}`] };
  }
  if (!isObject(said)) return { faults: ["the answer is not a JSON object"] };
  const { steps, question = "", why = "", result = "" } = said;
  if (!Array.isArray(steps)) return { faults: ['the answer has no list "steps"'] };
  if (typeof question !== "string" || typeof why !== "string" || typeof result !== "string") {
    return { faults: ['"question", "why" and "result" must be texts'] };
  }
  if (steps.length === 0) return withoutSteps(question.trim(), why.trim(), author, objective);
  return planOf(steps, why, result, author, objective);
}

function planOf(
  steps: readonly unknown[],
  why: string,
  result: string,
  author: Author,
  objective: Objective,
): Draft | Unusable {
  const { done } = objective;
  const read = steps.map(readStep);
  const faults = read.filter((step) => typeof step === "string");
  if (faults.length > 0) return { faults };
  const planned = read.filter((step) => typeof step !== "string");
  const known = new Set([...planned, ...done.map(({ step }) => ({ name: step }))].map(({ name }) => name));
  return {
    ...author,
    procedure: "",
    why: shorten(why, lengthMax.why) || "the model gave no reason",
    parameters: {},
    result: asTemplate(shorten(result, lengthMax.result), known) || "Done.",
    steps: planned.map((step) => ({
      ...step,
      description: literalTemplate(step.description),
      input: mapTexts(step.input, (text) => asTemplate(text, known)) as JsonObject,
      expect: mapTexts(step.expect, (text) => asTemplate(text, known)) as JsonObject,
      also: extraGrants(step, objective),
    })),
  };
}

function withoutSteps(question: string, why: string, author: Author, { answers }: Objective): Draft | Unusable {
  if (question === "") {
    return why === ""
      ? { faults: ["it has no steps, and says neither what to ask nor why it cannot be done"] }
      : { reason: `${author.origin} has no plan: ${shorten(why, lengthMax.why)}` };
  }
  if (answers.length < questionsMax) return { question: shorten(question, lengthMax.question) };
  return { reason: `${author.origin} asks more than ${questionsMax} questions` };
}

/** A step, or what is wrong with it. */
function readStep(value: unknown, at: number): PlannedStep | string {
  if (!isObject(value)) return `step ${at + 1} is not an object`;
  const { name, tool, agent = "", description = "", needs = [] } = value;
  if (typeof name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(name) || name.length > lengthMax.name) {
    return `step ${at + 1}: its name must be letters, digits and dashes`;
  }
  if (typeof tool !== "string" || typeof agent !== "string" || typeof description !== "string") {
    return `step ${name}: "tool", "agent" and "description" must be texts`;
  }
  if (!Array.isArray(needs) || !needs.every((need) => typeof need === "string")) {
    return `step ${name}: "needs" must be a list of names of steps`;
  }
  const input = objectIn(value, "input");
  const expect = objectIn(value, "expect");
  if (typeof input === "string") return `step ${name}: ${input}`;
  if (typeof expect === "string") return `step ${name}: ${expect}`;
  const told = shorten(description, lengthMax.description) || `${tool} for ${name}`;
  return { name, description: told, tool, agent, needs, input, expect, also: [] };
}

/** A field that is an object, or JSON text of one under the same name with "_json"; what is wrong with it else. */
function objectIn(step: JsonObject, field: string): JsonObject | string {
  const text = step[`${field}_json`];
  try {
    const value =
      typeof text === "string" && text.trim() !== "" ? (JSON.parse(saidJson(text)) as Json) : (step[field] ?? {});
    return isObject(value) ? value : `"${field}" is not an object`;
  } catch (error) {
    return `"${field}_json" is not JSON: ${messageOf(error)}`;
  }
}

/** Makes a template of a model's text: only references to steps are holes, all other braces are text. */
function asTemplate(text: string, steps: ReadonlySet<string>): string {
  return text
    .split(/(\$\{[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+\})/)
    .map((part) => {
      const step = /^\$\{([A-Za-z0-9_-]+)\./.exec(part)?.[1];
      return step !== undefined && steps.has(step) ? part : literalTemplate(part);
    })
    .join("");
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function shorten(text: string, length: number): string {
  const trimmed = text.trim();
  return cut(trimmed, length);
}
