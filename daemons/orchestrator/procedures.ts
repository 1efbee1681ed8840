import { readdirSync, readFileSync } from "node:fs";
import type { Static } from "typebox";
import * as Type from "typebox";
import { parseToml } from "#lib/config";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import type { JsonObject } from "./goal.ts";
import { compilePhrase, matchPhrase, type Phrase, unfit } from "./phrase.ts";
import { type Part, parseTemplate, textsIn } from "./template.ts";

const strict = { additionalProperties: false } as const;
const name = Type.String({
  pattern: "^[a-z][a-z0-9_-]*$",
  description: "a name of lower-case letters, digits and dashes",
});

/** Steps of one plan at most. */
const stepsMax = 20;

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
    parameters: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.Literal("path"), Type.Literal("name"), Type.Literal("text")])),
    ),
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

export interface Procedure {
  readonly name: string;
  readonly summary: string;
  readonly phrases: readonly Phrase[];
  readonly parameters: NonNullable<Static<typeof procedureSchema>["parameters"]>;
  readonly result: string;
  readonly steps: readonly PlannedStep[];
}

export interface PlannedStep {
  readonly name: string;
  readonly description: string;
  readonly tool: string;
  readonly agent: string;
  /** Names of earlier steps. */
  readonly needs: readonly string[];
  /** Capabilities beside those that every call of the tool needs; {field} is a field of the input. */
  readonly also: readonly string[];
  readonly input: JsonObject;
  readonly expect: JsonObject;
}

/** What is to be done for a goal. */
export interface Plan {
  readonly procedure: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly result: string;
  readonly steps: readonly PlannedStep[];
}

/** Makes plans of goals from what is declared. */
export interface Planner {
  /** The plan of the procedure that fits best, or in words why there is none. */
  plan(description: string): Plan | { readonly reason: string };
}

/** Reads `text` of the file `file` as a procedure. Throws INVALID_ARGUMENT with file, place and what was expected. */
export function parseProcedure(procedureName: string, text: string, file: string): Procedure {
  const { procedure, parameters = {}, steps } = parseToml(procedureSchema, text, file);
  try {
    const phrases = procedure.phrases.map((phrase) => compilePhrase(phrase, parameters));
    const planned = steps.map(planStep);
    for (const phrase of phrases) {
      const lacks = Object.keys(parameters).find((parameter) => !phrase.parameters.includes(parameter));
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

/** The procedures in `folder`, and what is wrong with those that cannot be used. A missing folder has none. */
export function readProcedures(folder: string): { procedures: Procedure[]; faults: string[] } {
  const procedures: Procedure[] = [];
  const faults: string[] = [];
  for (const file of tomlFiles(folder)) {
    try {
      const path = `${folder}/${file}`;
      procedures.push(parseProcedure(file.slice(0, -".toml".length), readFileSync(path, "utf8"), path));
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  return { procedures, faults };
}

function tomlFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".toml"))
      .toSorted();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Plans by declared procedures. `faults` (files that could not be read) are named when no procedure fits. */
export function procedurePlanner(procedures: readonly Procedure[], faults: readonly string[] = []): Planner {
  return {
    plan(description) {
      const fits = procedures.flatMap((procedure) =>
        procedure.phrases.flatMap((phrase) => {
          const parameters = matchPhrase(phrase, description);
          return parameters === undefined ? [] : [{ procedure, phrase, parameters }];
        }),
      );
      const [best] = fits.toSorted((a, b) => b.phrase.weight - a.phrase.weight);
      if (best === undefined) return { reason: uncovered(description, procedures, faults) };
      const { procedure, parameters } = best;
      const bad = Object.entries(parameters).map(([key, value]) => [
        key,
        unfit(procedure.parameters[key] ?? "text", value),
      ]);
      const [first] = bad.filter(([, reason]) => reason !== undefined);
      if (first !== undefined)
        return { reason: `the procedure ${procedure.name} cannot be used: ${first[0]}: ${first[1]}` };
      return { procedure: procedure.name, parameters, result: procedure.result, steps: procedure.steps };
    },
  };
}

/** Characters of a goal that its reason repeats. */
const quotedLengthMax = 200;

function uncovered(description: string, procedures: readonly Procedure[], faults: readonly string[]): string {
  const goal = description.length > quotedLengthMax ? `${description.slice(0, quotedLengthMax)}…` : description;
  const known = procedures.map(({ phrases }) => `"${phrases[0]?.text ?? ""}"`).join(", ");
  const broken = faults.length === 0 ? "" : `; not usable: ${faults.join("; ")}`;
  return `no procedure covers this goal: "${goal}"; known: ${known || "none"} (see "aiosctl goal submit --help")${broken}`;
}
