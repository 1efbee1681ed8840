import type { Json } from "#kernel/events";
import type { ModelCompletionRequest, ModelDirective, ModelProvider, PricedCompletion } from "#kernel/ports";
import { timeoutSignal } from "#lib/clock";
import { dataNote, markData } from "#lib/data/data-marks";
import { AiosError, type Code, messageOf } from "#lib/errors";
import { saidJson } from "#lib/said-json";
import { type Level, levels } from "../../plan.ts";
import {
  type Allowance,
  type Answer,
  allowances,
  chooseTools,
  grammarInput,
  requiredObject,
  type Thinker,
  type Thought,
} from "../../plans/index.ts";
import type { ToolFacts } from "../../tools.ts";

interface ModelParts {
  /** The models that can be asked, the cheapest first. */
  readonly thinkers: readonly Thinker[];
  /** The tools that a session may use. `own`: those of the conversation itself, which are always shown. */
  tools(session: string): Promise<{ readonly own: readonly ToolFacts[]; readonly others: readonly ToolFacts[] }>;
  /** The least level that is to be asked in a session. */
  levelOf(session: string): Promise<Level>;
  /** The memory's knowledge of it, at most this many tokens; "" when there is none. */
  context(description: string, tokensMax: number, signal: AbortSignal): Promise<string>;
}

/** Calls of one answer: what the model can ask for before it sees what came of it. */
const callsMax = 4;

/** Codes of what time or another try may mend. */
const passing: readonly Code[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "DATA_LOSS", "INTERNAL"];

/**
 * The kernel's model provider over the machine's models and the providers outside: the cheapest of the session's level is
 * asked first, and who gives no usable answer is followed by the next. When none does it throws what each of them says:
 * UNAVAILABLE when time or another try may mend it, else FAILED_PRECONDITION.
 */
export function modelOver(parts: ModelParts): ModelProvider {
  return {
    async complete(request, signal) {
      const least = levels.indexOf(await parts.levelOf(request.session_id));
      const reasons: string[] = [];
      let mends = false;
      for (const thinker of parts.thinkers) {
        if (thinker.level === "reactive" || levels.indexOf(thinker.level) < least) continue;
        try {
          return await completionBy(thinker, allowances[thinker.level], request, parts, signal);
        } catch (error) {
          signal.throwIfAborted();
          reasons.push(`${thinker.level}: ${messageOf(error)}`);
          mends ||= !(error instanceof AiosError) || passing.includes(error.code);
        }
      }
      const said = reasons.length === 0 ? `there is none of level ${levels[least]}` : reasons.join("; ");
      throw new AiosError(mends ? "UNAVAILABLE" : "FAILED_PRECONDITION", said);
    },
  };
}

async function completionBy(
  thinker: Thinker,
  allowance: Allowance,
  request: ModelCompletionRequest,
  parts: ModelParts,
  signal: AbortSignal,
): Promise<PricedCompletion> {
  const { own, others } = await parts.tools(request.session_id);
  const spoken = request.conversation_history.filter(({ role }) => role === "user").slice(-3);
  const about = spoken.map(({ content }) => content).join("\n");
  const tools = [...own, ...chooseTools(about, others, allowance.toolsMax)];
  const context = await parts.context(request.objective, allowance.contextTokensMax, signal);
  const late = timeoutSignal(allowance.timeoutMs);
  const thought = thoughtOf(request, tools, context, allowance, thinker.level === "strategic");
  const answer = await thinker.ask(thought, AbortSignal.any([signal, late])).catch((error: unknown) => {
    if (!late.aborted || signal.aborted) throw error;
    throw new AiosError("DEADLINE_EXCEEDED", `no answer within ${allowance.timeoutMs / 1_000} s`);
  });
  return completionOf(answer, tools);
}

const rules = `You talk with a person who looks after a Linux machine, and work on it by calling tools. Answer with one JSON object of the given schema and nothing else.
- "say" is what you tell the person. When you call tools it may be "".
- "calls" are the tools to call now, in their order, at most ${callsMax}; what they give comes back to you. None when you are done.
- Look before you change something, and change no more than the person asked for. The person is asked about each change before it is made.
- When the person wants something done that takes several steps, hand it on with goal.give.
- When something is missing that only the person can say: ask it in "say", without calls.`;

function thoughtOf(
  { system_prompt = "", objective, conversation_history: turns, run_id: goalId }: ModelCompletionRequest,
  tools: readonly ToolFacts[],
  context: string,
  { tokensMax, timeoutMs }: Allowance,
  provider: boolean,
): Thought {
  const list = tools.map(({ name, summary, input }) => `- ${name}: ${summary} Input: ${JSON.stringify(input)}`);
  const known = context === "" ? [] : [`What the machine remembers:\n${markData("memory", context)}`];
  const system = [system_prompt, rules, dataNote, `Tools:\n${list.join("\n")}`, ...known].filter((part) => part !== "");
  const said = turns.some(({ role, content }) => role === "user" && content === objective)
    ? turns
    : [...turns, { role: "user", content: objective }];
  return {
    system: system.join("\n\n"),
    messages: joined(said.map(({ role, content }) => messageOfTurn(role, content))),
    schema: JSON.stringify(provider ? providerSchema(tools) : grammarSchema(tools)),
    ...{ tokensMax, timeoutMs, goalId, taskType: "conversation" },
  };
}

type Message = Thought["messages"][number];

/**
 * The message of a turn. What a tool gave back is data that comes from nobody: it is told with the person's side, and
 * marked.
 */
function messageOfTurn(role: string, content: string): Message {
  if (role === "assistant") return { role, text: content };
  return { role: "user", text: role === "tool" ? markData("tool", content) : content };
}

/** One message for each turn of the other: templates of chat models know nothing else. */
function joined(messages: readonly Message[]): Message[] {
  const all: Message[] = [];
  for (const { role, text } of messages) {
    const last = all.at(-1);
    if (last?.role === role) all[all.length - 1] = { role, text: `${last.text}\n\n${text}` };
    else all.push({ role, text });
  }
  return all[0]?.role === "assistant" ? all.slice(1) : all;
}

/** For a model under a grammar: each tool with its own input. */
function grammarSchema(tools: readonly ToolFacts[]): object {
  const call = ({ name, input }: ToolFacts) => requiredObject({ tool: { const: name }, input: grammarInput(input) });
  return answerSchema({ anyOf: tools.map(call) });
}

/** For a provider, which bounds the size of a schema: an input is JSON in a text. */
function providerSchema(tools: readonly ToolFacts[]): object {
  const tool = { type: "string", enum: tools.map(({ name }) => name) };
  return answerSchema(
    requiredObject({ tool, input_json: { type: "string", description: "the tool's input, as JSON" } }),
  );
}

const answerSchema = (call: object) =>
  requiredObject({ say: { type: "string" }, calls: { type: "array", maxItems: callsMax, items: call } });

/** Throws DATA_LOSS when the answer is not what was asked for. */
function completionOf({ text, model, provider, cut, usage, costUsd }: Answer, tools: readonly ToolFacts[]) {
  if (cut) throw unusable("it is cut off");
  const { say, calls } = parsed(text, tools);
  const spoken: ModelDirective[] = say === "" ? [] : [{ type: "message", role: "assistant", content: say }];
  const asked = calls.map(
    ({ tool, input }, index): ModelDirective => ({
      type: "tool_call",
      call: { call_id: `call_${index + 1}`, tool_name: tool, input, requested_capabilities: [] },
    }),
  );
  const { prompt, completion } = usage;
  return {
    provider: provider || "aios-runtime",
    model,
    directives: [...spoken, ...asked],
    stop_reason: calls.length > 0 ? ("tool_call" as const) : ("completed" as const),
    usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
    ...(calls.length > 0 ? {} : { final_answer: say }),
    cost_usd: costUsd,
  };
}

interface Said {
  readonly say: string;
  readonly calls: readonly { readonly tool: string; readonly input: Json }[];
}

function parsed(text: string, tools: readonly ToolFacts[]): Said {
  const { say = "", calls = [] } = objectOf(text, "it");
  if (typeof say !== "string" || !Array.isArray(calls)) throw unusable('it is not {"say", "calls"}');
  if (calls.length > callsMax) throw unusable(`${calls.length} calls, at most ${callsMax}`);
  if (say.trim() === "" && calls.length === 0) throw unusable("it says nothing");
  return { say: say.trim(), calls: calls.map((call) => callOf(Object(call), tools)) };
}

function callOf(call: Record<string, unknown>, tools: readonly ToolFacts[]): Said["calls"][number] {
  const { tool, input, input_json } = call;
  if (typeof tool !== "string" || !tools.some(({ name }) => name === tool))
    throw unusable(`${JSON.stringify(tool)} is none of the tools`);
  const value = typeof input_json === "string" ? objectOf(input_json, `the input of ${tool}`) : input;
  if (typeof value !== "object" || value === null) throw unusable(`${tool} has no input`);
  return { tool, input: value as Json };
}

function objectOf(text: string, what: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(saidJson(text)));
  } catch (error) {
    throw unusable(`${what} is not JSON: ${messageOf(error)}`);
  }
}

const unusable = (reason: string) => new AiosError("DATA_LOSS", { act: "read", object: "the model's answer", reason });
