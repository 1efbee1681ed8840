import type { Phrase, Reading } from "../../phrase.ts";
import type { Draft, Objective, PlanSource } from "../../plan.ts";
import { nextStep, powerOf, whyNotCovered } from "./not-understood.ts";
import type { Declared, Procedure } from "./procedures.ts";
import { parametersFrom } from "./said.ts";

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
  if (best === undefined) return { reason: whyNotCovered(description, faults) };
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
