/** The types of aios-protocol that events and ports share, field by field. Their JSON names are their names here. */
import {
  defaulted,
  f32,
  f64,
  i32,
  json,
  list,
  optional,
  type Shape,
  str,
  struct,
  type TypeOf,
  tagged,
  u32,
  u64,
  word,
  wrong,
} from "./wire.ts";

/** `namespace:action[:resource]`, as `fs:read:/etc/**`. */
export type Capability = string;

export const loopPhase = word("perceive", "deliberate", "gate", "execute", "commit", "reflect", "sleep");
export const spanStatus = word("ok", "error", "timeout", "cancelled");
export const riskLevel = word("low", "medium", "high", "critical");
export const approvalDecision = word("approved", "denied", "timeout");
export const snapshotType = word("full", "incremental");
export const policyDecision = word("allow", "deny", "require_approval");
export const steeringMode = word("collect", "steer", "followup", "interrupt");
export const operatingMode = word("explore", "execute", "verify", "recover", "ask_human", "sleep");
export const memoryScope = word("session", "user", "agent", "org");

export type LoopPhase = TypeOf<typeof loopPhase>;
export type RiskLevel = TypeOf<typeof riskLevel>;
export type ApprovalDecision = TypeOf<typeof approvalDecision>;
export type OperatingMode = TypeOf<typeof operatingMode>;

export const tokenUsage = struct({
  prompt_tokens: defaulted(u32, 0),
  completion_tokens: defaulted(u32, 0),
  total_tokens: defaulted(u32, 0),
});
export type TokenUsage = TypeOf<typeof tokenUsage>;

/** The remaining budget of a session. Money in US dollars. */
export const budgetState = struct({
  tokens_remaining: u64,
  time_remaining_ms: u64,
  cost_remaining_usd: f64,
  tool_calls_remaining: u32,
  error_budget_remaining: u32,
});
export type BudgetState = TypeOf<typeof budgetState>;

/** How it stands with a session; the fractions are from 0 to 1. */
export const agentState = struct({
  progress: f32,
  uncertainty: f32,
  risk_level: riskLevel,
  budget: budgetState,
  error_streak: u32,
  context_pressure: f32,
  side_effect_pressure: f32,
  human_dependency: f32,
});
export type AgentStateVector = TypeOf<typeof agentState>;

const blobRef = struct({ blob_id: str, content_type: str, codec: optional(str), meta: optional(json) });
const patchOp = tagged("op", {
  set: { path: str, value: json },
  merge: { path: str, object: json },
  append: { path: str, values: list(json) },
  tombstone: { path: str, reason: str, replaced_by: optional(str) },
  set_ref: { path: str, blob_ref: blobRef },
});
const provenance = tagged("type", { event: { event_id: str }, blob: { blob_id: str } });
export const statePatch = struct({
  base_version: u64,
  ops: defaulted(list(patchOp), []),
  provenance: defaulted(list(provenance), []),
});

export const toolCall = struct({
  call_id: str,
  tool_name: str,
  input: json,
  requested_capabilities: defaulted(list(str), []),
});
export type ToolCall = TypeOf<typeof toolCall>;

const toolOutcome = tagged("status", { success: { output: json }, failure: { error: str } });

export const policySet = struct({
  allow_capabilities: list(str),
  gate_capabilities: list(str),
  max_tool_runtime_secs: u64,
  max_events_per_turn: u64,
});
export type PolicySet = TypeOf<typeof policySet>;

/** A moment, as chrono writes it: RFC 3339 in UTC, with 0, 3, 6 or 9 digits of the second's fraction. */
export const moment: Shape<string> = {
  write: (value, at) => JSON.stringify(normalMoment(value, at)),
  read: (value, at) => normalMoment(str.read(value, at), at),
};

function normalMoment(value: string, at: string): string {
  const [, seconds = "", fraction = "", zone = ""] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/i.exec(value) ?? [];
  const millis = Date.parse(`${seconds}${zone}`);
  if (Number.isNaN(millis)) throw wrong(at, "a moment in RFC 3339", value);
  const digits = fraction.replace(/0+$/, "");
  const padded = digits.padEnd(Math.ceil(digits.length / 3) * 3, "0");
  return `${new Date(millis).toISOString().slice(0, 19)}${padded === "" ? "" : `.${padded}`}Z`;
}

/** `ms` (milliseconds since the epoch) as chrono writes it. */
export function momentOf(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

const toolReport = struct({
  tool_run_id: str,
  call_id: str,
  tool_name: str,
  exit_status: i32,
  duration_ms: u64,
  outcome: toolOutcome,
});
export type ToolExecutionReport = TypeOf<typeof toolReport>;

export const policyGateDecision = struct({
  allowed: defaulted(list(str), []),
  requires_approval: defaulted(list(str), []),
  denied: defaulted(list(str), []),
});
export type PolicyGateDecision = TypeOf<typeof policyGateDecision>;
