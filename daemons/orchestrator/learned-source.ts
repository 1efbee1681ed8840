import { confidence } from "./confidence.ts";
import { isSame, isUsable, type Learned, recordOf } from "./learned.ts";
import { type Learning, learnedMax } from "./learning.ts";
import { compilePhrase, type ParameterValue, type Phrase, readParameter } from "./phrase.ts";
import type { Draft, PlanSource } from "./plan.ts";
import { nothingLearned } from "./planner.ts";
import type { Declared } from "./procedures.ts";

/** Plans by what has worked before on this machine. */
export function learnedSource(learning: Learning, declared: () => Declared): PlanSource {
  const matchers = new Map<string, Phrase["match"]>();
  const said = (learned: Learned, description: string) => {
    let match = matchers.get(learned.id);
    if (match === undefined) {
      if (matchers.size > 2 * learnedMax) matchers.clear();
      match = compilePhrase(learned.phrase, learned.parameters).match;
      matchers.set(learned.id, match);
    }
    return parametersOf(learned, match(description));
  };
  /** A procedure that the image declares is gone by as it is declared now, not as it was. */
  const isCurrent = ({ name, steps }: Learned) => {
    const now = declared().procedures.find((procedure) => procedure.name === name);
    return now === undefined || isSame(now.steps, steps);
  };
  return {
    name: "what was learned",
    level: "reactive",
    async draft({ description, failure }): Promise<Draft> {
      if (failure !== "") return { reason: "nothing that was learned goes on where another plan has failed" };
      const usable = learning.usable();
      if (usable === undefined) return { reason: "what was learned is not loaded yet" };
      for (const learned of usable) {
        const parameters = said(learned, description);
        if (parameters !== undefined && isCurrent(learned)) return planOf(learned, parameters);
      }
      const doubtful = learning.all().find((one) => said(one, description) !== undefined);
      return { reason: doubtful === undefined ? nothingLearned : unused(doubtful) };
    },
  };
}

function parametersOf(
  { parameters }: Learned,
  said: Record<string, string> | undefined,
): Record<string, ParameterValue> | undefined {
  if (said === undefined) return undefined;
  const values: Record<string, ParameterValue> = {};
  for (const [name, type] of Object.entries(parameters)) {
    const value = readParameter(type, said[name] ?? "");
    if (typeof value === "object") return undefined;
    values[name] = value;
  }
  return values;
}

function planOf(learned: Learned, parameters: Record<string, ParameterValue>): Draft {
  const { id, name, phrase, result, steps, successes, failures } = learned;
  const sure = Math.round(100 * confidence(successes, failures));
  return {
    origin: `learned procedure ${name}`,
    procedure: id,
    level: "reactive",
    model: "",
    why: `goals said as "${phrase}" were reached in this way: it ${recordOf(learned)} (confidence ${sure} %)`,
    parameters,
    result,
    steps,
  };
}

/** It was used and failed, or is of an older image. */
function unused(learned: Learned): string {
  const why = isUsable(learned) ? "it is declared in another way now" : "that is too seldom";
  return `what was learned for "${learned.phrase}" ${recordOf(learned)}: ${why}`;
}
