import { messageOf } from "#lib/errors";
import type { Option } from "./goal.ts";
import type { Draft, Objective, Plan, PlanSource, Unusable } from "./plan.ts";

export interface Planned {
  readonly draft: Draft;
  /** In the order in which they were asked. */
  readonly options: readonly Option[];
}

/** Makes plans of goals. */
export interface Planner {
  plan(objective: Objective, signal: AbortSignal): Promise<Planned>;
}

/** Why the source of learned procedures has no plan for most goals. */
export const nothingLearned = "nothing that was learned fits";

/** What is wrong with a plan, one sentence each; none when it may run. */
export type CheckPlan = (plan: Plan, objective: Objective) => Promise<readonly string[]>;

/**
 * Asks the sources in their order, the cheapest first. A plan with faults goes back to its source once, with them; then the
 * next source is asked. When the last has none, the draft says what each of them answered.
 */
export function plannerOver(sources: readonly PlanSource[], check: CheckPlan): Planner {
  return {
    async plan(objective, signal) {
      const options: Option[] = [];
      for (const source of sources) {
        const { name, level } = source;
        const { draft, mended } = await draftOf(source, objective, check, signal);
        if (mended !== "") options.push({ source: name, level, verdict: `its first plan could not be run: ${mended}` });
        if (!("reason" in draft)) {
          options.push({ source: name, level, verdict: "question" in draft ? `asks: ${draft.question}` : "chosen" });
          return { draft, options };
        }
        options.push({ source: name, level, verdict: draft.reason });
      }
      // That nothing was learned goes without saying.
      const told = options.filter(({ verdict }) => verdict !== nothingLearned);
      return { draft: { reason: told.map(({ verdict }) => verdict).join("; ") }, options };
    },
  };
}

/** What a source has, and what was wrong with its first plan when it was asked for another. */
interface Drafted {
  readonly draft: Draft;
  readonly mended: string;
}

async function draftOf(
  source: PlanSource,
  objective: Objective,
  check: CheckPlan,
  signal: AbortSignal,
): Promise<Drafted> {
  let faults: readonly string[] = [];
  for (let tries = 0; tries < 2; tries += 1) {
    const mended = faults.join("; ");
    const draft = await source.draft(objective, faults, signal).catch((error: unknown): Draft | Unusable => {
      signal.throwIfAborted();
      return { reason: `${source.name}: ${messageOf(error)}` };
    });
    if (!("faults" in draft || "steps" in draft)) return { draft, mended };
    faults = "faults" in draft ? draft.faults : await check(draft, objective);
    if ("steps" in draft && faults.length === 0) return { draft, mended };
  }
  return { draft: { reason: `${source.name}: its plan cannot be run: ${faults.join("; ")}` }, mended: "" };
}
