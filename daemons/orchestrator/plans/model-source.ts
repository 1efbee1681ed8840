/**
 * A model answers under a schema made from the tools that agents may be given; what it writes is read as data, and only
 * `${step.field}` of its own steps is a reference. It is shown what tools returned as marked data. A small model is
 * given 15 s and 512 tokens: one that cannot plan fails fast, and says so.
 */
import { type Clock, timeoutSignal } from "#lib/clock";
import { namespaceOf } from "../goal.ts";
import type { Draft, Level, Objective, PlanSource, Unusable } from "../plan.ts";
import type { ToolFacts } from "../tools.ts";
import { grantable } from "./check-plan.ts";
import { type Author, readPlan } from "./plan-answer.ts";
import { faultsPrompt, planPrompt } from "./plan-prompt.ts";
import { grammarSchema, providerSchema } from "./plan-schema.ts";
import { chooseTools } from "./tool-choice.ts";

/** A question to a model. */
export interface Thought {
  readonly system: string;
  readonly messages: readonly { readonly role: "user" | "assistant"; readonly text: string }[];
  /** JSON Schema of the answer. */
  readonly schema: string;
  readonly tokensMax: number;
  readonly timeoutMs: number;
  /** Its purpose: an answer in a conversation is never one that was given before. */
  readonly taskType: "planning" | "conversation";
  readonly goalId: string;
}

export interface Answer {
  readonly text: string;
  readonly model: string;
  /** "claude", "openai"; empty for a model of this machine. */
  readonly provider: string;
  /** It was cut off before its end. */
  readonly cut: boolean;
  /** Tokens. */
  readonly usage: { readonly prompt: number; readonly completion: number };
  /** US dollars. */
  readonly costUsd: number;
}

/** A model that can be asked. Throws an AiosError that says why when it cannot. */
export interface Thinker {
  readonly level: Level;
  ask(thought: Thought, signal: AbortSignal): Promise<Answer>;
}

/** Means of a plan. */
export interface Means {
  tools(): Promise<readonly ToolFacts[]>;
  /** The agents of this machine with what each is for. */
  agents(): readonly { readonly name: string; readonly role: string }[];
  /** Whether some agent may be given tools of this namespace. */
  covers(namespace: string): boolean;
  /**
   * The memory's knowledge of goals like this, at most this many tokens; empty when nothing, or when it does not
   * answer.
   */
  context(description: string, tokensMax: number, signal: AbortSignal): Promise<string>;
}

/** Limits of a level: how long an answer may be and take, how many tools and how much context it is shown. */
export interface Allowance {
  readonly tokensMax: number;
  readonly timeoutMs: number;
  readonly toolsMax: number;
  readonly contextTokensMax: number;
}

/** The levels that plan. A model that cannot plan fails within its time: nobody waits longer for it. */
export const allowances: Readonly<Record<Exclude<Level, "reactive">, Allowance>> = {
  operational: { tokensMax: 512, timeoutMs: 15_000, toolsMax: 10, contextTokensMax: 200 },
  tactical: { tokensMax: 1_536, timeoutMs: 90_000, toolsMax: 24, contextTokensMax: 600 },
  strategic: { tokensMax: 4_096, timeoutMs: 120_000, toolsMax: 200, contextTokensMax: 1_500 },
};

/** Plans by a model. Its drafts are of the tools that agents may be given, and of nothing else. */
export function modelSource(thinker: Thinker, means: Means, allowance: Allowance, clock: Clock): PlanSource {
  const { level } = thinker;
  /** Its last answer for an objective, for when that has faults. */
  const last = new WeakMap<Objective, string>();

  return {
    name: `the ${level} model`,
    level,
    async draft(objective, faults, signal) {
      const late = timeoutSignal(allowance.timeoutMs);
      const either = AbortSignal.any([signal, late]);
      const thought = await thoughtFor(objective, means, allowance, level, either);
      const said = last.get(objective);
      if (faults.length > 0 && said !== undefined) {
        thought.messages.push({ role: "assistant", text: said }, { role: "user", text: faultsPrompt(faults) });
      }
      const began = clock.monotonic();
      const answer = await thinker.ask(thought, either).catch((error: unknown): Draft => {
        if (!late.aborted || signal.aborted) throw error;
        return { reason: `the ${level} model gave no plan within ${allowance.timeoutMs / 1_000} s` };
      });
      if ("reason" in answer || "steps" in answer || "question" in answer) return answer;
      last.set(objective, answer.text);
      const author = authorOf(answer, level);
      if (answer.cut) return cutOff(author, allowance, clock.monotonic() - began);
      return readPlan(answer.text, author, objective);
    },
  };
}

interface Drafting extends Thought {
  readonly messages: { role: "user" | "assistant"; text: string }[];
}

async function thoughtFor(
  objective: Objective,
  means: Means,
  { tokensMax, timeoutMs, toolsMax, contextTokensMax }: Allowance,
  level: Level,
  signal: AbortSignal,
): Promise<Drafting> {
  const { description, goalId } = objective;
  const usable = (await means.tools()).filter((tool) => grantable(tool) && means.covers(namespaceOf(tool.name)));
  const tools = chooseTools(description, usable, toolsMax);
  const context = await means.context(description, contextTokensMax, signal);
  const provider = level === "strategic";
  const agents = provider ? means.agents() : [];
  const { system, question } = planPrompt(objective, { tools, context, agents });
  const schema = provider
    ? providerSchema(
        tools,
        agents.map(({ name }) => name),
      )
    : grammarSchema(tools);
  const messages = [{ role: "user" as const, text: question }];
  return { system, messages, schema: JSON.stringify(schema), tokensMax, timeoutMs, taskType: "planning", goalId };
}

function authorOf({ model, provider }: Answer, level: Level): Author {
  return { origin: provider === "" ? `model ${model}` : `gateway ${provider} (${model})`, level, model };
}

/** A longer answer would be no better: a model that does not come to an end within this cannot plan. */
function cutOff({ origin }: Author, { tokensMax }: Allowance, tookMs: number): Draft | Unusable {
  const seconds = (tookMs / 1_000).toFixed(1);
  return { reason: `${origin} came to no end of a plan within ${tokensMax} tokens (${seconds} s)` };
}
