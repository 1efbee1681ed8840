import type { Static } from "typebox";
import * as Type from "typebox";
import { parseToml } from "#lib/config/config";
import { AiosError, messageOf } from "#lib/errors";
import { readDeclarations } from "../../declarations.ts";
import type { JsonObject } from "../../json.ts";
import { compilePhrase, type Phrase, parameterTypes, readParameter } from "../../phrase.ts";
import { type PlannedStep, stepsMax } from "../../plan.ts";
import { type Part, parseTemplate, textsIn } from "../../template.ts";
import type { Declaration } from "./said.ts";

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

/** The procedures of a folder, and the faults of the files that cannot be used. */
export interface Declared {
  readonly procedures: readonly Procedure[];
  readonly faults: readonly string[];
}

/** The procedures in `folder`. A missing folder has none. */
export function readProcedures(folder: string): Declared {
  const { read, faults } = readDeclarations(folder, parseProcedure);
  return { procedures: read, faults };
}
