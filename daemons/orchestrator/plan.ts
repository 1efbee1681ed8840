import { AiosError } from "#lib/errors";
import type { JsonObject } from "./json.ts";
import type { ParameterValue, Reading } from "./phrase.ts";

/** How much thinking a plan or a task takes: rules, the always loaded model, the model on demand, the gateway's. */
export const levels = ["reactive", "operational", "tactical", "strategic"] as const;
export type Level = (typeof levels)[number];

/** Most steps of one plan. */
export const stepsMax = 20;

export interface PlannedStep {
  readonly name: string;
  readonly description: string;
  readonly tool: string;
  /** The agent that should do it; empty = any whose namespaces cover the tool. */
  readonly agent: string;
  /** Names of earlier steps. */
  readonly needs: readonly string[];
  /** Capabilities beside those that every call of the tool needs; {field} is a field of the input. */
  readonly also: readonly string[];
  /** Input of the tool, its texts being templates (template.ts). */
  readonly input: JsonObject;
  /** Templates that fields of the output must equal for the step to count as done. */
  readonly expect: JsonObject;
}

/** The steps to a goal. */
export interface Plan {
  /** Where it comes from: "procedure disk-report", "model aios-bringup", "gateway". */
  readonly origin: string;
  /** Name of the procedure that it follows, by which its success is remembered; empty when it follows none. */
  readonly procedure: string;
  readonly level: Level;
  /** Model that made it; empty when none did. */
  readonly model: string;
  /** Why this plan, in a sentence. */
  readonly why: string;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Of parameters that can be read in another way too: that other value. */
  readonly unsure?: Reading["unsure"];
  /** Its steps are the image's: what they name themselves is declared. */
  readonly declared?: boolean;
  /** Template of the goal's result. */
  readonly result: string;
  readonly steps: readonly PlannedStep[];
}

/** A goal as its plan is asked for. */
export interface Objective {
  readonly goalId: string;
  readonly description: string;
  /** The person's answers to the questions of earlier drafts, oldest first. */
  readonly answers: readonly { readonly question: string; readonly answer: string }[];
  /** The steps that are done already when a plan has failed half-way: step, tool, input and output. */
  readonly done: readonly {
    readonly step: string;
    readonly tool: string;
    readonly input: JsonObject;
    readonly output: JsonObject;
  }[];
  /** The steps of the plans before, done or not; none for the first. */
  readonly planned?: readonly Pick<PlannedStep, "tool" | "input">[];
  /** Why the plan before did not lead to the goal; empty for the first. */
  readonly failure: string;
}

/** A plan, why there is none, or what a person has to say first. */
export type Draft = Plan | { readonly reason: string } | { readonly question: string };

/** Something meant as a plan that is none. */
export interface Unusable {
  readonly faults: readonly string[];
}

/** There is no model to ask, or it cannot take a plan's question: only a person can change that. */
export class NoModel extends AiosError {}

/** Something that can make plans. */
export interface PlanSource {
  readonly name: string;
  readonly level: Level;
  /**
   * Drafts a plan. Throws NoModel when it has none to ask. `faults` says what was wrong with its last draft for the same objective; empty the first time.
   * `faults` in the answer: what it has made is no plan, for these reasons. Throws only what another try later can change.
   */
  draft(objective: Objective, faults: readonly string[], signal: AbortSignal): Promise<Draft | Unusable>;
  /**
   * The next step for a person where it has no plan; empty when its reason says that, undefined when it knows nothing
   * that helps.
   */
  next?(description: string): string | undefined;
}
