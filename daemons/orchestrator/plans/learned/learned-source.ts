import { compilePhrase, type Phrase, type Reading } from "../../phrase.ts";
import type { Draft, Plan, PlanSource } from "../../plan.ts";
import { bestFit, type Declared, parametersFrom } from "../procedures/index.ts";
import { confidence } from "./confidence.ts";
import { isSame, isUsable, type Learned, recordOf } from "./learned.ts";
import { type Learning, learnedMax } from "./learning.ts";

/** Why the source of learned procedures has no plan for most goals. */
export const nothingLearned = "nothing that was learned fits";

/** Plans by what has worked before on this machine. */
export function learnedSource(learning: Learning, declared: () => Declared): PlanSource {
  const phrases = new Map<string, Phrase>();
  const phraseOf = ({ id, phrase, parameters }: Learned): Phrase => {
    const known = phrases.get(id) ?? compilePhrase(phrase, parameters);
    if (phrases.size > 2 * learnedMax) phrases.clear();
    phrases.set(id, known);
    return known;
  };
  /** As what was learned reads a goal, unless the image knows words for it that say more exactly what is meant. */
  const readerOf = (description: string) => {
    const least = bestFit(description, declared().procedures)?.phrase.weight ?? 0;
    return (learned: Learned): Reading | undefined => {
      const phrase = phraseOf(learned);
      const reading = phrase.weight < least ? undefined : phrase.match(description);
      if (reading?.doubt !== "") return undefined;
      // What became a text was in quotes; without them "a poem about the sea" may be what to write of.
      return reading.bare.length > 0 && declarationOf(learned) === undefined ? undefined : reading;
    };
  };
  /** A procedure that the image declares is gone by as it is declared now, not as it was. */
  const declarationOf = ({ name }: Learned) => declared().procedures.find((procedure) => procedure.name === name);
  const isCurrent = (learned: Learned) => {
    const now = declarationOf(learned);
    return now === undefined || isSame(now.steps, learned.steps);
  };
  return {
    name: "what was learned",
    level: "reactive",
    async draft({ description, failure }): Promise<Draft> {
      if (failure !== "") return { reason: "nothing that was learned goes on where another plan has failed" };
      const usable = learning.usable();
      if (usable === undefined) return { reason: "what was learned is not loaded yet" };
      const reading = readerOf(description);
      for (const learned of usable) {
        const read = reading(learned);
        if (read === undefined || !isCurrent(learned)) continue;
        const declaration = declarationOf(learned);
        const parameters = parametersFrom(read.said, declaration ?? learned);
        if ("values" in parameters)
          return { ...planOf(learned, parameters.values, read), declared: declaration !== undefined };
      }
      const doubtful = learning.all().find((one) => reading(one) !== undefined);
      return { reason: doubtful === undefined ? nothingLearned : whyUnused(doubtful) };
    },
  };
}

function planOf(learned: Learned, parameters: Plan["parameters"], { unsure }: Reading): Plan {
  const { id, name, phrase, result, steps, successes, failures } = learned;
  const sure = Math.round(100 * confidence(successes, failures));
  return {
    origin: `learned procedure ${name}`,
    procedure: id,
    level: "reactive",
    model: "",
    why: `goals said as "${phrase}" were reached in this way: it ${recordOf(learned)} (confidence ${sure} %)`,
    parameters,
    unsure,
    result,
    steps,
  };
}

/** It was used and failed, or is of an older image. */
function whyUnused(learned: Learned): string {
  const why = isUsable(learned) ? "it is declared in another way now" : "that is too seldom";
  return `what was learned for "${learned.phrase}" ${recordOf(learned)}: ${why}`;
}
