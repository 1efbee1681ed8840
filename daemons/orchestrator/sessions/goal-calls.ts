import type { ToolCall, ToolExecutionReport, ToolFate, ToolRequirements } from "#kernel/ports";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import { type Goal, isOver } from "../goal.ts";
import type { Goals } from "../goals/index.ts";
import type { JsonObject } from "../json.ts";
import type { ToolFacts } from "../tools.ts";

/** The conversation that a call is made in. */
export interface Talk {
  readonly session: string;
  /** The person's last words. */
  readonly words: string;
  /** The opener of the session: "operator:alice". */
  readonly owner: string;
  /** Their role then; empty for no person. */
  readonly role: Role | "";
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
  goalTool("goal.cancel", "Cancels a goal that was given in this conversation.", "goal_id"),
] as const;

export const isGoalCall = ({ tool_name }: ToolCall): boolean => goalTools.some(({ name }) => name === tool_name);

export function goalRequirements(call: ToolCall): ToolRequirements {
  const { tool_name } = call;
  const { words, goalId } = fieldsOf(call);
  if (goalId === "" || (words === "" && tool_name !== "goal.cancel"))
    throw new AiosError("INVALID_ARGUMENT", `${tool_name}: its input does not say what it needs`);
  return { capabilities: [tool_name.replace(".", ":")], risk: "low", changes: true };
}

interface GoalHands {
  /** Gives or answers the goal, and waits until it is over or asks. */
  execute(call: ToolCall, talk: Talk, signal: AbortSignal): Promise<ToolExecutionReport>;
  fate(call: ToolCall): Promise<ToolFate>;
  /** As fate; a goal that is not over is cancelled. */
  withdraw(call: ToolCall, talk: Talk): Promise<ToolFate>;
}

/** Goals as the tools of a conversation: a goal that is given has the call's id. */
export function goalHands(goals: Goals, clock: Clock): GoalHands {
  const found = async (call: ToolCall): Promise<Goal | undefined> => {
    try {
      return await goals.find(fieldsOf(call).goalId);
    } catch (error) {
      if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  };
  const fate = async (call: ToolCall): Promise<ToolFate> => {
    const goal = await found(call);
    if (goal === undefined || isUndone(call, goal)) return { state: "absent" };
    return rests(goal) ? { state: "done", report: reportOf(call, goal, 0) } : { state: "running" };
  };
  const begin = async (call: ToolCall, talk: Talk): Promise<void> => {
    const { words, goalId } = fieldsOf(call);
    if (call.tool_name === "goal.give") await goals.submit(submissionOf(goalId, words, talk));
    else if (call.tool_name === "goal.answer") await goals.answer(goalId, words, talk.role);
    else await cancelOwn(goals, goalId, talk);
  };
  return {
    fate,
    async execute(call, talk, signal) {
      const began = clock.monotonic();
      const { words, goalId } = fieldsOf(call);
      if (call.tool_name !== "goal.cancel" && words !== talk.words)
        return failure(call, "it is not what the person said last, word for word");
      await begin(call, talk);
      return reportOf(call, await restOf(goals, goalId, signal), clock.monotonic() - began);
    },
    async withdraw(call, { owner }) {
      const goal = await found(call);
      if (goal !== undefined && !isOver(goal.state)) await goals.cancel(goal.id, owner);
      return fate(call);
    },
  };
}

/** The goal is there, and is as it was before the call. */
function isUndone({ tool_name }: ToolCall, goal: Goal): boolean {
  if (tool_name === "goal.answer") return asks(goal);
  return tool_name === "goal.cancel" && !isOver(goal.state);
}

/** A conversation cancels what was given in it, and no goal of others. */
async function cancelOwn(goals: Goals, id: string, { session, owner }: Talk): Promise<void> {
  const { metadata } = await goals.find(id);
  if (metadata["session"] === session) return await goals.cancel(id, owner);
  throw new AiosError("PERMISSION_DENIED", `cancel goal ${id}: it was not given in this conversation`);
}

const asks = ({ state }: Goal) => state === "awaiting_input";
const rests = (goal: Goal) => isOver(goal.state) || asks(goal) || goal.state === "paused";

const submissionOf = (id: string, description: string, { session, owner, role }: Talk) => ({
  ...{ id, description, priority: 1, tags: ["session"], metadata: JSON.stringify({ session }) },
  ...{ source: owner, role, dependsOn: [], dedupeKey: "" },
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

/** The content of a call: the person's words ("" when none), and the goal that it is about. */
function fieldsOf({ call_id, tool_name, input }: ToolCall): { readonly words: string; readonly goalId: string } {
  const { description, goal_id, answer } = Object(input) as JsonObject;
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return tool_name === "goal.give"
    ? { words: text(description), goalId: call_id }
    : { words: text(answer), goalId: text(goal_id) };
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
