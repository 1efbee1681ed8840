import type { ToolExecutionReport, ToolExecutionRequest, ToolHarness } from "#kernel/ports";
import { AiosError, messageOf } from "#lib/errors";
import { refusals } from "../calls.ts";
import type { Goals } from "../goals/index.ts";
import { type AgentHandsParts, byAgent } from "./agent-hands.ts";
import { goalHands, goalRequirements, isGoalCall, type Talk } from "./goal-calls.ts";

/** The kernel's hands: goals for a conversation's own tools, the agent for all others, the ledger for what became of them. */
export function handsOf(
  parts: AgentHandsParts & { readonly goals: Goals },
  ledger: ToolHarness,
  talkOf: (request: ToolExecutionRequest) => Promise<Talk & { readonly agent: string }>,
  permit: () => void,
): ToolHarness {
  const onGoals = goalHands(parts.goals, parts.clock);
  const execute = async (request: ToolExecutionRequest, signal: AbortSignal) => {
    permit();
    const talk = await talkOf(request);
    const { call } = request;
    return isGoalCall(call)
      ? await onGoals.execute(call, talk, signal)
      : await byAgent(talk.agent, call, talk, signal, parts);
  };
  return {
    requirements: async (call) => (isGoalCall(call) ? goalRequirements(call) : await ledger.requirements(call)),
    async execute(request, signal) {
      try {
        return await execute(request, signal);
      } catch (error) {
        // Refused before the call was made.
        if (error instanceof AiosError && refusals.has(error.code) && !signal.aborted)
          return refused(request, messageOf(error));
        throw error;
      }
    },
    fate: (request) => (isGoalCall(request.call) ? onGoals.fate(request.call) : ledger.fate(request)),
    withdraw: async (request) =>
      isGoalCall(request.call)
        ? await onGoals.withdraw(request.call, await talkOf(request))
        : await ledger.withdraw(request),
  };
}

function refused({ call: { call_id, tool_name } }: ToolExecutionRequest, error: string): ToolExecutionReport {
  const facts = { tool_run_id: call_id, call_id, tool_name, exit_status: 1, duration_ms: 0 };
  return { ...facts, outcome: { status: "failure", error } };
}
