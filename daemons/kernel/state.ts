import type { ConversationTurn, ModelCompletion } from "./ports.ts";
import type {
  ApprovalDecision,
  BudgetState,
  Capability,
  LoopPhase,
  OperatingMode,
  PolicyGateDecision,
  RiskLevel,
  ToolCall,
} from "./shapes.ts";
import { budgetState, policySet } from "./shapes.ts";
import { list, optional, str, struct, type TypeOf } from "./wire.ts";

/** The settings that a session is made with; the `config` of its SessionCreated. */
export const sessionConfig = struct({
  agent_id: str,
  owner: str,
  /** The role of the person who opened it; absent when none did. */
  role: optional(str),
  workspace_root: str,
  system_prompt: optional(str),
  /** The least intelligence level that is asked in it; absent = the cheapest there is. */
  level: optional(str),
  /** The only tools of the session; absent = all that the gate lets through. */
  allowed_tools: optional(list(str)),
  policy: policySet,
  budget: budgetState,
});
export type SessionConfig = TypeOf<typeof sessionConfig>;

/** How it stands with the session, from what has happened. Fractions from 0 to 1. */
export interface Vitals {
  readonly progress: number;
  readonly uncertainty: number;
  readonly sideEffects: number;
  readonly errorStreak: number;
  readonly risk: RiskLevel;
  /** Characters of the conversation so far. */
  readonly contextLength: number;
}

/** A question to a person about one capability of one call. */
interface Ticket {
  readonly approvalId: string;
  readonly capability: Capability;
  /** Milliseconds since the epoch. */
  readonly askedAt: number;
  readonly decision?: ApprovalDecision;
}

/** The gate's answer about a call. */
export interface Judgement {
  readonly requested: readonly Capability[];
  readonly decision: PolicyGateDecision;
  readonly risk: RiskLevel;
  readonly changes: boolean;
  readonly verdict: "allow" | "deny" | "require_approval";
  /** Capabilities that a person must approve and has not. */
  readonly missing: readonly Capability[];
  readonly rule?: string;
  /** Why it is denied, or what there is to remark. */
  readonly explanation?: string;
}

/** The call of a run that is not over. One at a time: a later one may need what an earlier one did. */
export interface OpenCall {
  readonly call: ToolCall;
  /** To be judged; judged; begun: from then on it counts as carried out until the harness says otherwise. */
  readonly stage: "requested" | "judged" | "started";
  readonly judgement?: Judgement;
  /** The verdict has been journalled. */
  readonly told: boolean;
  readonly tickets: readonly Ticket[];
  readonly approved: readonly Capability[];
}

export interface CallOutcome {
  readonly call_id: string;
  readonly tool_name: string;
  readonly status: "ok" | "error" | "timeout" | "cancelled" | "refused";
  /** Empty when it succeeded. */
  readonly error: string;
}

/** A run that has not ended. */
export interface Run {
  readonly runId: string;
  /** The branch that it runs on: a fork does not take its parent's run along. */
  readonly branchId: string;
  readonly objective: string;
  readonly proposed?: ToolCall;
  readonly provider: string;
  readonly iterationsMax: number;
  readonly stage: "requested" | "received" | "started" | "deliberating" | "directing" | "stepped";
  readonly estimated: boolean;
  /** Steps begun. */
  readonly steps: number;
  readonly iterations: number;
  readonly events: number;
  readonly completion?: ModelCompletion;
  /** The directive that comes next. */
  readonly cursor: number;
  readonly call?: OpenCall;
  /** Keys of the last calls, for the loop guard. */
  readonly window: readonly string[];
  readonly outcomes: readonly CallOutcome[];
  readonly lastResult?: unknown;
  readonly usage: { readonly prompt: number; readonly completion: number; readonly total: number };
  readonly text: string;
  readonly answer?: string;
  readonly errors: number;
  readonly lastError: string;
  readonly tripped: boolean;
  /** The budget that a call or an answer went beyond. */
  readonly exhausted?: string;
  readonly cancelled?: string;
}

export interface RunEnd {
  readonly runId: string;
  /** The branch it ran on: a fork remembers its parent's runs, and its own of the same id are others. */
  readonly branchId: string;
  readonly status: "finished" | "errored";
  readonly reason: string;
  readonly iterations: number;
  readonly answer?: string;
  readonly outcomes: readonly CallOutcome[];
  /** The last call's result. */
  readonly lastResult?: unknown;
}

interface Checkpoint {
  readonly checkpointId: string;
  readonly sequence: number;
  /** The journal up to here is the one that the checkpoint was made of. */
  readonly sound: boolean;
  readonly turns: readonly ConversationTurn[];
  readonly vitals: Vitals;
}

/** Reports that are still due after a run. */
interface Owed {
  readonly budget: boolean;
  readonly estimate: boolean;
  readonly checkpoint: boolean;
  readonly heartbeat: boolean;
}

/** All that a kernel knows of a branch: nothing else than what its journal says, so that it can be rebuilt from there. */
export interface BranchState {
  readonly sessionId: string;
  readonly branchId: string;
  readonly agentId: string;
  readonly config?: SessionConfig;
  readonly head: number;
  readonly lastEventId: string;
  /** Hash over all events up to the head. */
  readonly digest: string;
  /** The same without the last event: what a checkpoint's hash must be. */
  readonly checkpointDigest: string;
  readonly phase: LoopPhase;
  /** The mode that was last journalled. */
  readonly mode: OperatingMode;
  readonly vitals: Vitals;
  readonly budget: BudgetState;
  readonly turns: readonly ConversationTurn[];
  readonly run?: Run;
  readonly runs: readonly RunEnd[];
  readonly runCount: number;
  readonly owed: Owed;
  readonly checkpoints: readonly Checkpoint[];
  /** Approvals that were decided, the last ones. */
  readonly decided: readonly { readonly approvalId: string; readonly approved: boolean; readonly actor: string }[];
  /** Branches that were forked off this one. */
  readonly children: readonly string[];
  readonly merged: readonly string[];
  /** Why nothing is added any more. */
  readonly closed?: string;
}

const calm: Owed = { budget: false, estimate: false, checkpoint: false, heartbeat: false };

/** A branch of which nothing is known yet. */
export function emptyState(sessionId: string, branchId: string): BranchState {
  return {
    sessionId,
    branchId,
    agentId: "",
    head: 0,
    lastEventId: "",
    digest: "",
    checkpointDigest: "",
    phase: "sleep",
    mode: "sleep",
    vitals: { progress: 0, uncertainty: 0.7, sideEffects: 0, errorStreak: 0, risk: "low", contextLength: 0 },
    budget: {
      tokens_remaining: 0,
      time_remaining_ms: 0,
      cost_remaining_usd: 0,
      tool_calls_remaining: 0,
      error_budget_remaining: 0,
    },
    turns: [],
    runs: [],
    runCount: 0,
    owed: calm,
    checkpoints: [],
    decided: [],
    children: [],
    merged: [],
  };
}
