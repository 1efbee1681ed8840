/**
 * A plan is made by whoever is cheapest, and believed by nobody. Sources are asked in their order: what has worked on
 * this machine, what the image declares, the operational and the tactical model, the gateway. Every plan is checked
 * before it runs (tools exist, inputs fit, agents cover them, references lead to earlier steps, at most 20 steps); one
 * with faults goes back once with them. Its steps are granted what their tools need; an address that is not public, a
 * remote or an image only when the person has named it.
 */
import { messageOf } from "#lib/errors";
import type { Option } from "../goal.ts";
import { type Draft, type Level, NoModel, type Objective, type Plan, type PlanSource, type Unusable } from "../plan.ts";
import { nothingLearned } from "./learned/index.ts";

interface Planned {
  readonly draft: Draft;
  /** In the order in which they were asked. */
  readonly options: readonly Option[];
}

/** Makes plans of goals. */
export interface Planner {
  plan(objective: Objective, signal: AbortSignal): Promise<Planned>;
}

/** Finds the faults of a plan, one sentence each; none when it may run. */
export type CheckPlan = (plan: Plan, objective: Objective) => Promise<readonly string[]>;

/**
 * Asks the sources in their order, the cheapest first. A plan with faults goes back to its source once, with them; then the
 * next source is asked. When the last has none, the draft says what each of them answered.
 */
export function plannerOver(sources: readonly PlanSource[], check: CheckPlan): Planner {
  return {
    async plan(objective, signal) {
      const options: Option[] = [];
      const reasons: Reason[] = [];
      for (const source of sources) {
        const { name, level } = source;
        const { draft, mended, lacking } = await draftOf(source, objective, check, signal);
        if (mended !== "") options.push({ source: name, level, verdict: `its first plan could not be run: ${mended}` });
        if (!("reason" in draft)) {
          options.push({ source: name, level, verdict: "question" in draft ? `asks: ${draft.question}` : "chosen" });
          return { draft, options };
        }
        options.push({ source: name, level, verdict: draft.reason });
        reasons.push({ text: draft.reason, level, lacking, next: source.next?.(objective.description) });
      }
      return { draft: { reason: reasonOf(reasons) }, options };
    },
  };
}

interface Reason {
  readonly text: string;
  readonly level: Level;
  /** There was no model to ask. */
  readonly lacking: boolean;
  readonly next: string | undefined;
}

/** Why there is no plan, and the one thing that a person can do. That nothing was learned, and which level lacks what, is for the explanation. */
function reasonOf(reasons: readonly Reason[]): string {
  const told = reasons.filter(({ text, lacking }) => text !== nothingLearned && !lacking).map(({ text }) => text);
  const models = reasons.filter(({ level }) => level !== "reactive");
  if (models.some(({ lacking }) => !lacking)) return told.join("; ");
  const known = reasons.find(({ next }) => next !== undefined)?.next;
  const next = known ?? (models.length === 0 ? "" : lackingModel);
  return [...told, next].filter((text) => text !== "").join("; ");
}

const lackingModel = `no model is there to plan it: give a provider a key ("aiosctl secrets set claude")`;

/** A source's draft, and the faults of its first plan when it was asked for another. */
interface Drafted {
  readonly draft: Draft;
  readonly mended: string;
  /** It has no model to ask. */
  readonly lacking: boolean;
}

async function draftOf(
  source: PlanSource,
  objective: Objective,
  check: CheckPlan,
  signal: AbortSignal,
): Promise<Drafted> {
  let faults: readonly string[] = [];
  let mended = "";
  let lacking = false;
  for (let tries = 0; tries < 2; tries += 1) {
    mended = faults.join("; ");
    const draft = await source.draft(objective, faults, signal).catch((error: unknown): Draft | Unusable => {
      signal.throwIfAborted();
      lacking = error instanceof NoModel;
      return { reason: `${source.name}: ${messageOf(error)}` };
    });
    if (!("faults" in draft || "steps" in draft)) return { draft, mended, lacking };
    faults = "faults" in draft ? draft.faults : await check(draft, objective);
    if ("steps" in draft && faults.length === 0) return { draft, mended, lacking };
  }
  const wrong = faults.join("; ");
  const draft = { reason: `${source.name}: its plan cannot be run: ${wrong}` };
  // The same faults again need be told once only.
  return { draft, mended: mended === wrong ? "" : mended, lacking };
}
