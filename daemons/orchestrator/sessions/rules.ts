import type { ConversationTurn, ModelCompletionRequest, ModelProvider, PricedCompletion } from "#kernel/ports";
import { AiosError, messageOf } from "#lib/errors";
import type { PlanSource } from "../plan.ts";

export interface RulesParts {
  /** Sources of plans that need no model. */
  readonly sources: readonly PlanSource[];
  readonly models: ModelProvider;
  /** What the machine knows of something, in a few lines; "" when nothing. */
  knowledge(about: string, signal: AbortSignal): Promise<string>;
}

/**
 * What can be answered without a model: what a person says that some procedure covers is given as a goal, and what comes of
 * that is told. Everything else goes to the models; where there is none that can think, that is said, with what helps.
 */
export function rulesBefore({ sources, models, knowledge }: RulesParts): ModelProvider {
  return {
    async complete(request, signal) {
      const ruled = toldOf(request) ?? (await askedBy(request, sources, signal));
      if (ruled !== undefined) return ruled;
      try {
        return await models.complete(request, signal);
      } catch (error) {
        if (!(error instanceof AiosError) || error.code !== "FAILED_PRECONDITION") throw error;
        return says(nobodyThinks(messageOf(error), await knowledge(request.objective, signal)));
      }
    },
  };
}

/** What a goal tool gave back, as it stands in the conversation. */
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
  const { description, answer } = calls.find((one) => one?.tool_call?.call_id === callId)?.tool_call?.input ?? {};
  return (description ?? answer) === words;
}

/** A call as it stands in the conversation. */
type Called =
  | { readonly tool_call?: { readonly call_id: string; readonly input: Readonly<Record<string, string>> } }
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

/** What is said of a goal that was given or answered just now. */
function toldOf({ objective, conversation_history: turns }: ModelCompletionRequest): PricedCompletion | undefined {
  const last = turns.at(-1);
  const turn = last === undefined ? undefined : goalTurnIn(last);
  if (turn === undefined || !gaveWords(turns, turn.call_id, objective)) return undefined;
  if (turn.result === undefined) return says(`That cannot be done: ${turn.error ?? "no reason was given"}`);
  const { goal_id: id, status, result, question } = turn.result;
  if (status === "completed") return says(result || "Done.");
  if (status === "awaiting_input") return says(question);
  if (status === "paused") return says(`The goal is paused; "aiosctl goal resume ${id}" goes on with it.`);
  return says(`That did not work: ${result}\n"aiosctl goal explain ${id}" tells why.`);
}

/** A goal, when the person's words are one that some procedure covers, or an answer to what a goal asks. */
async function askedBy(
  { objective, conversation_history: turns }: ModelCompletionRequest,
  sources: readonly PlanSource[],
  signal: AbortSignal,
): Promise<PricedCompletion | undefined> {
  if (turns.at(-1)?.role !== "user") return undefined;
  const asked = { goalId: "", description: objective, answers: [], done: [], failure: "" };
  for (const source of sources) {
    const draft = await source.draft(asked, [], signal);
    if ("steps" in draft || "question" in draft) return calls("goal.give", { description: objective });
  }
  const open = turns.map(goalTurnIn).findLast((turn) => turn?.result !== undefined);
  if (open?.result?.status !== "awaiting_input") return undefined;
  return calls("goal.answer", { goal_id: open.result.goal_id, answer: objective });
}

function nobodyThinks(reasons: string, known: string): string {
  const lines = [
    "I know no procedure for that, and there is no model here that could think about it.",
    reasons,
    'What helps: give a provider a key ("aiosctl secrets set claude"), name a model of this machine ("aiosctl models"), or say it as one of the goals that this machine knows.',
  ];
  return known === "" ? lines.join("\n") : `${lines.join("\n")}\n\nWhat this machine knows about it:\n${known}`;
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
