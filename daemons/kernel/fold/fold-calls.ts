import { charge } from "../budget.ts";
import { callKey } from "../calls.ts";
import type { Limits } from "../limits.ts";
import type { BranchState, CallOutcome, OpenCall } from "../state.ts";
import { afterFailure, afterRefusal, afterSuccess } from "../vitals.ts";
import { cutTurn, withRun } from "./fold-runs.ts";
import type { Folds } from "./folds.ts";

/** The state with the open call changed. */
function withCall(state: BranchState, change: (call: OpenCall) => Partial<OpenCall>): BranchState {
  return withRun(state, ({ call }) => (call === undefined ? {} : { call: { ...call, ...change(call) } }));
}

/** A tool's result goes into the conversation as data under its own role: it is never what somebody said. */
function toolTurn(state: BranchState, outcome: CallOutcome, result: unknown, limits: Limits): BranchState {
  const { call_id, tool_name: tool, status, error } = outcome;
  const content = JSON.stringify({ call_id, tool, status, ...(error === "" ? { result } : { error }) });
  return cutTurn(state, "tool", content, limits);
}

function over(state: BranchState, outcome: CallOutcome, result: unknown, limits: Limits): BranchState {
  const closed = withRun(state, ({ cursor, outcomes, errors, lastError }) => ({
    cursor: cursor + 1,
    outcomes: [...outcomes, outcome],
    lastResult: result,
    errors: outcome.error === "" ? errors : errors + 1,
    lastError: outcome.error === "" ? lastError : `${outcome.tool_name}: ${outcome.error}`,
  }));
  if (closed.run === undefined) return closed;
  const { call: _, ...run } = closed.run;
  return toolTurn({ ...closed, run }, outcome, result, limits);
}

const isOpen = ({ run }: BranchState, callId: string) => run?.call?.call.call_id === callId;

/** The folds of a call's events, from its request to its outcome. */
export const foldCalls: Folds = {
  ToolCallRequested: (state, { call_id, tool_name, arguments: input }, _record, limits) => {
    const directive = state.run?.completion?.directives[state.run.cursor];
    const requested_capabilities = directive?.type === "tool_call" ? directive.call.requested_capabilities : [];
    const call = { call_id, tool_name, input, requested_capabilities };
    const asked = cutTurn(
      state,
      "assistant",
      JSON.stringify({ tool_call: { call_id, tool: tool_name, input } }),
      limits,
    );
    return withRun(asked, ({ window }) => ({
      call: { call, stage: "requested", told: false, tickets: [], approved: [] },
      window: [...window, callKey(call)].slice(-limits.loopWindow),
    }));
  },
  PolicyEvaluated: (state) => withCall(state, () => ({ told: true })),
  ApprovalRequested: (state, { approval_id, call_id }, { timestamp }) =>
    !isOpen(state, call_id)
      ? state
      : withCall(state, ({ tickets, judgement }) => {
          const capability = judgement?.missing[tickets.length] ?? "";
          return { tickets: [...tickets, { approvalId: approval_id, capability, askedAt: Date.parse(timestamp) }] };
        }),
  ApprovalResolved: (state, { approval_id, decision, reason = "" }, _record, limits) => {
    const approved = decision === "approved";
    const decided = [...state.decided, { approvalId: approval_id, approved, actor: reason }].slice(-limits.runsMax);
    return withCall({ ...state, decided }, (call) => {
      const tickets = call.tickets.map((ticket) =>
        ticket.approvalId === approval_id ? { ...ticket, decision } : ticket,
      );
      const asked = call.tickets.some(({ approvalId }) => approvalId === approval_id);
      const settled = asked && tickets.length === call.judgement?.missing.length;
      if (!settled || !tickets.every((ticket) => ticket.decision === "approved")) return { tickets };
      // It passes the gate again: what was approved is no more than what the gate asked for, and the policy may have changed.
      const granted = tickets.map(({ capability }) => capability);
      return { tickets, stage: "requested", approved: [...call.approved, ...granted] };
    });
  },
  ToolCallStarted: (state, { tool_run_id }) =>
    !isOpen(state, tool_run_id)
      ? state
      : withCall({ ...state, budget: charge(state.budget, { calls: 1 }) }, () => ({ stage: "started" })),
  ToolCallCompleted: (state, { call_id = "", tool_name, result, duration_ms, status }, _record, limits) => {
    if (!isOpen(state, call_id)) return state;
    const ok = status === "ok";
    const changes = state.run?.call?.judgement?.changes ?? false;
    const vitals = ok ? afterSuccess(state.vitals, changes) : afterFailure(state.vitals);
    const budget = charge(state.budget, { timeMs: duration_ms, errors: ok ? 0 : 1 });
    const error = ok ? "" : errorIn(result);
    return over({ ...state, vitals, budget }, { call_id, tool_name, status, error }, result, limits);
  },
  ToolCallFailed: (state, { call_id, tool_name, error }, _record, limits) => {
    if (!isOpen(state, call_id)) return state;
    const outcome = { call_id, tool_name, status: "refused", error } as const;
    const budget = charge(state.budget, { errors: 1 });
    return over({ ...state, vitals: afterRefusal(state.vitals), budget }, outcome, { error }, limits);
  },
};

function errorIn(result: unknown): string {
  const error = (result as { error?: unknown } | null)?.error;
  return typeof error === "string" && error !== "" ? error : "it failed";
}
