import type { Static } from "typebox";
import * as Type from "typebox";
import { parseToml } from "#lib/config/config";
import { AiosError, messageOf } from "#lib/errors";
import type { JsonObject } from "../goal.ts";
import { compilePhrase, type Phrase, parameterTypes, type Reading, readParameter } from "../phrase.ts";
import { type Draft, type Objective, type PlannedStep, type PlanSource, stepsMax } from "../plan.ts";
import { type Part, parseTemplate, textsIn } from "../template.ts";
import { nextStep, powerOf, uncovered } from "./not-understood.ts";
import { type Declaration, parametersFrom } from "./said.ts";

const strict = { additionalProperties: false } as const;
const name = Type.String({
  pattern: "^[a-z][a-z0-9_-]*$",
  description: "a name of lower-case letters, digits and dashes",
});

/** `/etc/aios/procedures/<name>.toml`: goals that it covers, and the steps that do them. */
const procedureSchema = Type.Object(
  {
    procedure: Type.Object(
      {
        summary: Type.String({ minLength: 1 }),
        phrases: Type.Array(Type.String({ minLength: 3 }), { minItems: 1, description: "a list of phrases" }),
        result: Type.String({ minLength: 1 }),
      },
      strict,
    ),
    parameters: Type.Optional(Type.Record(Type.String(), Type.Enum([...parameterTypes]))),
    // What a parameter is when the phrase does not give it, or what the person behind the goal is asked for it.
    defaults: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Integer()]))),
    questions: Type.Optional(Type.Record(Type.String(), Type.String({ minLength: 1 }))),
    // By path: another, in whose folder it lies when only its name is said.
    beside: Type.Optional(Type.Record(Type.String(), Type.String())),
    steps: Type.Array(
      Type.Object(
        {
          name,
          description: Type.String({ minLength: 1 }),
          tool: Type.String({ pattern: "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$", description: "a tool such as fs.read" }),
          agent: Type.Optional(name),
          needs: Type.Optional(Type.Array(name)),
          also: Type.Optional(
            Type.Array(Type.String({ pattern: "^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*", description: "a capability" }), {
              maxItems: 8,
              description: "capabilities that the call turns out to need beside, such as net:local:127.0.0.1",
            }),
          ),
          input: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
          expect: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        },
        strict,
      ),
      { minItems: 1, maxItems: stepsMax, description: `1 to ${stepsMax} steps` },
    ),
  },
  strict,
);

type Step = Static<typeof procedureSchema>["steps"][number];

export interface Procedure extends Required<Declaration> {
  readonly name: string;
  readonly summary: string;
  readonly phrases: readonly Phrase[];
  readonly result: string;
  readonly steps: readonly PlannedStep[];
}

/** Reads `text` of the file `file` as a procedure. Throws INVALID_ARGUMENT with file, place and what was expected. */
export function parseProcedure(procedureName: string, text: string, file: string): Procedure {
  const { procedure, steps, ...declared } = parseToml(procedureSchema, text, file);
  const { parameters = {}, defaults = {}, questions = {}, beside = {} } = declared;
  try {
    checkDeclaration({ parameters, defaults, questions, beside });
    const phrases = procedure.phrases.map((phrase) => compilePhrase(phrase, parameters));
    const planned = steps.map(planStep);
    for (const phrase of phrases) {
      const given = [...phrase.parameters, ...Object.keys(defaults), ...Object.keys(questions)];
      const lacks = Object.keys(parameters).find((parameter) => !given.includes(parameter));
      if (lacks !== undefined) throw fault(`the phrase ${JSON.stringify(phrase.text)} does not give {${lacks}}`);
    }
    checkSteps(planned, Object.keys(parameters));
    const all = planned.map((step) => step.name);
    checkTemplates([procedure.result], Object.keys(parameters), all, "the result");
    return {
      name: procedureName,
      summary: procedure.summary,
      result: procedure.result,
      parameters,
      defaults,
      questions,
      beside,
      phrases,
      steps: planned,
    };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: file,
      reason: messageOf(error),
      next: "correct it",
    });
  }
}

function planStep(step: Step): PlannedStep {
  return {
    name: step.name,
    description: step.description,
    tool: step.tool,
    agent: step.agent ?? "",
    needs: step.needs ?? [],
    also: step.also ?? [],
    input: (step.input ?? {}) as JsonObject,
    expect: (step.expect ?? {}) as JsonObject,
  };
}

function checkDeclaration({ parameters, defaults, questions, beside }: Required<Declaration>): void {
  for (const [key, value] of Object.entries(defaults)) {
    const type = parameters[key];
    if (type === undefined) throw fault(`defaults: there is no parameter ${key}`);
    const read = readParameter(type, String(value));
    if (typeof read === "object") throw fault(`defaults: ${key}: ${read.reason}`);
  }
  const stranger = Object.keys(questions).find((key) => parameters[key] === undefined);
  if (stranger !== undefined) throw fault(`questions: there is no parameter ${stranger}`);
  const other = Object.entries(beside)
    .flat()
    .find((key) => parameters[key] !== "path");
  if (other !== undefined) throw fault(`beside: there is no path ${other}`);
}

/** Steps need and use earlier steps only, so that no plan has a cycle. */
function checkSteps(steps: readonly PlannedStep[], parameters: readonly string[]): void {
  const before = new Map<string, ReadonlySet<string>>();
  for (const step of steps) {
    if (before.has(step.name)) throw fault(`two steps are named ${step.name}`);
    const stranger = step.needs.find((need) => !before.has(need));
    if (stranger !== undefined) throw fault(`the step ${step.name} needs ${stranger}, which is no step before it`);
    const reach = new Set(step.needs.flatMap((need) => [need, ...(before.get(need) ?? [])]));
    checkTemplates(textsIn(step.input), parameters, [...reach], `the input of the step ${step.name}`);
    checkTemplates(textsIn(step.expect), parameters, [...reach, step.name], `what the step ${step.name} expects`);
    checkTemplates([step.description], parameters, [], `the description of the step ${step.name}`);
    before.set(step.name, reach);
  }
}

function checkTemplates(
  texts: readonly string[],
  parameters: readonly string[],
  steps: readonly string[],
  where: string,
) {
  const wrong = (part: Part) =>
    (part.kind === "parameter" && !parameters.includes(part.name)) ||
    (part.kind === "output" && !steps.includes(part.step));
  for (const text of texts) {
    const part = parseTemplate(text).find(wrong);
    if (part?.kind === "parameter") throw fault(`${where} uses {${part.name}}, which is no parameter`);
    if (part?.kind === "output") throw fault(`${where} uses \${${part.step}.…}, which is no step that it needs`);
  }
}

function fault(reason: string): Error {
  return new Error(reason);
}

/** What a folder of procedures holds, and what is wrong with the files that cannot be used. */
export interface Declared {
  readonly procedures: readonly Procedure[];
  readonly faults: readonly string[];
}

/** Plans by declared procedures. Files that could not be read are named when none fits. */
export function procedureSource(declared: () => Declared): PlanSource {
  return {
    name: "procedures",
    level: "reactive",
    async draft({ description, answers, failure }) {
      // A procedure has one way only: what has failed by it is not tried by it again.
      if (failure !== "") return { reason: "no procedure goes on where another plan has failed" };
      const { procedures, faults } = declared();
      return planByProcedure(description, procedures, faults, answers);
    },
    next(description) {
      const { procedures } = declared();
      return bestFit(description, procedures) === undefined ? nextStep(description, procedures) : "";
    },
  };
}

/** The procedures and phrases that a goal can be read by, those first that say most exactly what it says. */
function fitsOf(description: string, procedures: readonly Procedure[]) {
  const fits = procedures.flatMap((procedure) =>
    procedure.phrases.flatMap((phrase) => {
      const reading = phrase.match(description);
      return reading === undefined || isOther(procedure, phrase, reading, description)
        ? []
        : [{ procedure, phrase, reading }];
    }),
  );
  return fits.toSorted((a, b) => b.phrase.weight - a.phrase.weight);
}

/** Words that stand for what was said before, or for more than one thing: names in quotes only. */
const noName =
  /^(?:it|this|that|them|these|those|all|both|each|any|everything|anything|something|nothing|others?|here|there|today|yesterday|latest)$/i;

/**
 * "list users" is no "list {path}": a verb alone does not make a plain word a path. "uninstall package now" is no "uninstall
 * {name}": a word that the procedure's own phrases have is a name in quotes only.
 */
function isOther(
  { parameters, phrases }: Procedure,
  { text }: Phrase,
  { said }: Reading,
  description: string,
): boolean {
  if (powerOf(description) !== undefined) return true;
  return Object.entries(said).some(([key, value]) => {
    if (parameters[key] === "path") return /^\S+ \{\w+\}$/.test(text) && !/[/.]/.test(value);
    if (parameters[key] !== "name" || new RegExp(`["']${value.replaceAll(/\W/g, "\\$&")}["']`).test(description))
      return false;
    return noName.test(value) || phrases.some((phrase) => phrase.text.split(/\s+/).includes(value.toLowerCase()));
  });
}

/** The procedure and the phrase of it that say most exactly what a goal says. */
export const bestFit = (description: string, procedures: readonly Procedure[]) => fitsOf(description, procedures)[0];

/** The plan of the procedure that fits best, what it has to ask first, or in words why there is none. */
export function planByProcedure(
  description: string,
  procedures: readonly Procedure[],
  faults: readonly string[] = [],
  answers: Objective["answers"] = [],
): Draft {
  const [best, ...others] = fitsOf(description, procedures);
  if (best === undefined) return { reason: uncovered(description, faults) };
  const { procedure, phrase, reading } = best;
  const meant = ({ procedure: { name }, reading: { said } }: typeof best) => JSON.stringify([name, said]);
  const other = others.find((one) => one.phrase.weight === phrase.weight && meant(one) !== meant(best));
  if (other !== undefined) {
    return { reason: `the goal can be read as "${phrase.text}" and as "${other.phrase.text}": put names in quotes` };
  }
  if (reading.doubt !== "") return { reason: `the goal reads as "${phrase.text}", but ${reading.doubt}` };
  const parameters = parametersFrom(reading.said, procedure, answers);
  if ("question" in parameters) return parameters;
  if ("reason" in parameters) {
    return { reason: `the procedure ${procedure.name} cannot be used: ${parameters.reason}` };
  }
  return {
    origin: `procedure ${procedure.name}`,
    procedure: procedure.name,
    level: "reactive",
    model: "",
    why: `the goal reads as "${phrase.text}"`,
    parameters: parameters.values,
    unsure: reading.unsure,
    declared: true,
    result: procedure.result,
    steps: procedure.steps,
  };
}
