import type { ToolCall, ToolExecutionReport, ToolFate, ToolRequirements } from "#kernel/ports";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { type Goal, isOver, type JsonObject } from "../goal.ts";
import type { Goals } from "../goals.ts";
import type { ToolFacts } from "../tools.ts";

/** What is known of the conversation that a call is made in. */
export interface Talk {
  readonly session: string;
  /** What the person said last. */
  readonly words: string;
  /** Who opened the session: "operator:alice". */
  readonly owner: string;
}

const goalTool = (name: string, summary: string, ...fields: readonly string[]): ToolFacts => ({
  ...{ name, summary, capabilities: [name.replace(".", ":")], idempotent: false, timeoutMs: 0 },
  input: {
    properties: Object.fromEntries(fields.map((field) => [field, { type: "string" }])),
    required: fields,
    additionalProperties: false,
  },
  outputs: ["goal_id", "status", "result", "question"],
});

/**
 * The tools of a conversation itself: by them what a person says becomes a goal of the machine. They take the person's own
 * words and no others, so that nothing that a model was talked into becomes a goal.
 */
export const goalTools = [
  goalTool("goal.give", "Gives the machine what the person said last, word for word, as a goal.", "description"),
  goalTool("goal.answer", "Answers what a goal asks by what the person said last, word for word.", "goal_id", "answer"),
] as const;

export const isGoalCall = ({ tool_name }: ToolCall): boolean => goalTools.some(({ name }) => name === tool_name);

export function goalRequirements({ tool_name, input }: ToolCall): ToolRequirements {
  const { give, answer } = fieldsOf(input);
  if (give === undefined && answer === undefined)
    throw new AiosError("INVALID_ARGUMENT", `${tool_name}: its input does not say what it needs`);
  return { capabilities: [tool_name.replace(".", ":")], risk: "low", changes: true };
}

export interface GoalHands {
  /** Gives or answers the goal, and waits until it is over or asks. */
  execute(call: ToolCall, talk: Talk, signal: AbortSignal): Promise<ToolExecutionReport>;
  fate(call: ToolCall): Promise<ToolFate>;
  /** As fate; a goal that is not over is cancelled. */
  withdraw(call: ToolCall, talk: Talk): Promise<ToolFate>;
}

/** Goals as the tools of a conversation: a goal that is given has the call's id. */
export function goalHands(goals: Goals, clock: Clock): GoalHands {
  const idOf = ({ call_id, input }: ToolCall) => fieldsOf(input).answer?.goalId ?? call_id;
  const found = async (call: ToolCall): Promise<Goal | undefined> => {
    try {
      return await goals.find(idOf(call));
    } catch (error) {
      if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  };
  const fate = async (call: ToolCall): Promise<ToolFate> => {
    const goal = await found(call);
    const { answer } = fieldsOf(call.input);
    if (goal === undefined) return { state: "absent" };
    if (answer !== undefined && asks(goal)) return { state: "absent" };
    return rests(goal) ? { state: "done", report: reportOf(call, goal, 0) } : { state: "running" };
  };
  return {
    fate,
    async execute(call, talk, signal) {
      const began = clock.monotonic();
      const { give, answer } = fieldsOf(call.input);
      const said = give ?? answer?.text ?? "";
      if (said !== talk.words) return failure(call, "it is not what the person said last, word for word");
      try {
        if (give !== undefined) await goals.submit(submissionOf(call.call_id, give, talk));
        else await goals.answer(idOf(call), said);
      } catch (error) {
        if (error instanceof AiosError) return failure(call, messageOf(error));
        throw error;
      }
      return reportOf(call, await restOf(goals, idOf(call), signal), clock.monotonic() - began);
    },
    async withdraw(call, { owner }) {
      const goal = await found(call);
      if (goal !== undefined && !isOver(goal.state)) await goals.cancel(goal.id, owner);
      return fate(call);
    },
  };
}

const asks = ({ state }: Goal) => state === "awaiting_input";
const rests = (goal: Goal) => isOver(goal.state) || asks(goal) || goal.state === "paused";

const submissionOf = (id: string, description: string, { session, owner }: Talk) => ({
  ...{ id, description, priority: 1, tags: ["session"], metadata: JSON.stringify({ session }) },
  ...{ source: owner, dependsOn: [], dedupeKey: "" },
});

/** The goal once it is over, asks or is paused. Throws the signal's reason when that is not waited for any more. */
async function restOf(goals: Goals, id: string, signal: AbortSignal): Promise<Goal> {
  const { promise, resolve, reject } = Promise.withResolvers<Goal>();
  const end = goals.onChange((goal) => {
    if (goal.id === id && rests(goal)) resolve(goal);
  });
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    const now = await goals.find(id);
    return rests(now) ? now : await promise;
  } finally {
    end();
    signal.removeEventListener("abort", abort);
  }
}

function fieldsOf(input: ToolCall["input"]): {
  readonly give: string | undefined;
  readonly answer: { readonly goalId: string; readonly text: string } | undefined;
} {
  const { description, goal_id, answer } = Object(input) as JsonObject;
  return {
    give: typeof description === "string" ? description : undefined,
    answer: typeof goal_id === "string" && typeof answer === "string" ? { goalId: goal_id, text: answer } : undefined,
  };
}

function reportOf(call: ToolCall, goal: Goal, tookMs: number): ToolExecutionReport {
  const question = asks(goal) ? (goal.questions.at(-1)?.question ?? "") : "";
  const output = { goal_id: goal.id, status: goal.state, result: goal.result, question };
  return { ...head(call, tookMs), exit_status: 0, outcome: { status: "success", output } };
}

const failure = (call: ToolCall, error: string): ToolExecutionReport => ({
  ...head(call, 0),
  exit_status: 1,
  outcome: { status: "failure", error },
});

const head = ({ call_id, tool_name }: ToolCall, tookMs: number) => ({
  ...{ tool_run_id: call_id, call_id, tool_name },
  duration_ms: Math.round(tookMs),
});
