import type { ConversationTurn, ModelCompletionRequest, ModelProvider, PricedCompletion } from "#kernel/ports";
import { AiosError } from "#lib/errors";
import type { PlanSource } from "../plan.ts";
import { nothingLearned } from "../plans/learned/index.ts";

interface RulesParts {
  /** Sources of plans that need no model. */
  readonly sources: readonly PlanSource[];
  readonly models: ModelProvider;
}

/**
 * Answers what needs no model: what a person says that some procedure covers is given as a goal, and what comes of that
 * is told. Everything else goes to the models; where there is none that can think, that is said, with what helps.
 */
export function rulesBefore({ sources, models }: RulesParts): ModelProvider {
  return {
    async complete(request, signal) {
      const told = toldOf(request);
      if (told !== undefined) return told;
      const asked = await askedBy(request, sources, signal);
      if ("directives" in asked) return asked;
      try {
        return await models.complete(request, signal);
      } catch (error) {
        if (!(error instanceof AiosError) || error.code !== "FAILED_PRECONDITION") throw error;
        return says(nobodyThinks(asked.reasons));
      }
    },
  };
}

/** The answer of a goal tool, as it stands in the conversation. */
interface GoalTurn {
  readonly call_id: string;
  readonly tool: string;
  readonly status: string;
  readonly error?: string;
  readonly result?: { goal_id: string; status: string; result: string; question: string };
}

function goalTurnIn({ role, content }: ConversationTurn): GoalTurn | undefined {
  const turn = role === "tool" ? (jsonIn(content) as GoalTurn | undefined) : undefined;
  return turn?.tool.startsWith("goal.") ? turn : undefined;
}

/** Whether a call of a goal tool gave the person's own words. What a model has made of them is the model's to go on with. */
function gaveWords(turns: readonly ConversationTurn[], callId: string, words: string): boolean {
  const calls = turns.flatMap(({ role, content }) => (role === "assistant" ? [jsonIn(content) as Called] : []));
  const { tool, input = {} } = calls.find((one) => one?.tool_call?.call_id === callId)?.tool_call ?? {};
  return tool === "goal.cancel" ? refusal.test(words) : (input["description"] ?? input["answer"]) === words;
}

/** A call as it stands in the conversation. */
type Called =
  | {
      readonly tool_call?: {
        readonly call_id: string;
        readonly tool: string;
        readonly input: Readonly<Record<string, string>>;
      };
    }
  | undefined;

/** Undefined when it is none, or was cut, since it was long. */
function jsonIn(content: string): unknown {
  if (!content.startsWith("{")) return undefined;
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}

/** The words about a goal that was given or answered just now. */
function toldOf({ objective, conversation_history: turns }: ModelCompletionRequest): PricedCompletion | undefined {
  const last = turns.at(-1);
  const turn = last === undefined ? undefined : goalTurnIn(last);
  if (turn === undefined || !gaveWords(turns, turn.call_id, objective)) return undefined;
  if (turn.result === undefined) return says(`That cannot be done: ${turn.error ?? "no reason was given"}`);
  const { goal_id: id, status, result, question } = turn.result;
  if (status === "completed") return says(result || "Done.");
  if (status === "awaiting_input") return says(question);
  if (status === "cancelled") return says("It is cancelled.");
  if (status === "paused") return says(`The goal is paused; "aiosctl goal resume ${id}" goes on with it.`);
  return says(`That did not work: ${result}\n"aiosctl goal explain ${id}" tells why.`);
}

/**
 * A goal, when the person's words are one that some procedure covers, or an answer to what a goal asks, or that it is not wanted
 * any more; else why they are none of these.
 */
async function askedBy(
  { objective, conversation_history: turns }: ModelCompletionRequest,
  sources: readonly PlanSource[],
  signal: AbortSignal,
): Promise<PricedCompletion | { readonly reasons: readonly string[] }> {
  const reasons: string[] = [];
  if (turns.at(-1)?.role !== "user") return { reasons };
  const asked = { goalId: "", description: objective, answers: [], done: [], failure: "" };
  for (const source of sources) {
    const draft = await source.draft(asked, [], signal);
    if ("steps" in draft || "question" in draft) return calls("goal.give", { description: objective });
    if ("reason" in draft && draft.reason !== nothingLearned) {
      reasons.push([draft.reason, source.next?.(objective) ?? ""].filter((text) => text !== "").join("; "));
    }
  }
  const open = turns.map(goalTurnIn).findLast((turn) => turn?.result !== undefined);
  if (open?.result?.status !== "awaiting_input") return { reasons };
  if (refusal.test(objective)) return calls("goal.cancel", { goal_id: open.result.goal_id });
  return calls("goal.answer", { goal_id: open.result.goal_id, answer: objective });
}

/** How a person says that a goal that asks is not wanted any more. */
const refusal = /^(cancel( it| that)?|never ?mind|forget it|stop( it)?)[.!]?$/i;

function nobodyThinks(reasons: readonly string[]): string {
  return [
    "There is no model here that could think about that, and it is no goal that I know how to reach.",
    ...reasons,
    'Goals near it are listed by "aiosctl goal known".',
    'What helps: give a provider a key ("aiosctl secrets set claude") or this machine a model ("aiosctl models add").',
  ].join("\n");
}

const byRules = { provider: "rules", model: "" } as const;

const says = (content: string): PricedCompletion => ({
  ...byRules,
  directives: [{ type: "message", role: "assistant", content }],
  stop_reason: "completed",
  final_answer: content,
});

const calls = (tool_name: string, input: Record<string, string>): PricedCompletion => ({
  ...byRules,
  directives: [{ type: "tool_call", call: { call_id: "call_1", tool_name, input, requested_capabilities: [] } }],
  stop_reason: "tool_call",
});
