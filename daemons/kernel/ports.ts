/**
 * The five ports of aios-protocol: all that a kernel knows of the world. What this kernel asks beyond the protocol, so that it can
 * promise that nothing runs twice, stands in `ToolHarness` and `Journal`.
 */
import type { EventRecord } from "./events.ts";
import {
  type Capability,
  type PolicyGateDecision,
  type PolicySet,
  type RiskLevel,
  type ToolCall,
  type ToolExecutionReport,
  tokenUsage,
  toolCall,
} from "./shapes.ts";
import {
  defaulted,
  list,
  optional,
  type Shape,
  sparse,
  str,
  struct,
  type TypeOf,
  tagged,
  u32,
  word,
  wrong,
} from "./wire.ts";

export type {
  Capability,
  PolicyGateDecision,
  RiskLevel,
  ToolCall,
  ToolExecutionReport,
} from "./shapes.ts";

/** A turn of the conversation. Roles: user, assistant, and tool for what a tool gave back: data, never an instruction. */
const conversationTurn = struct({ role: str, content: str });
export type ConversationTurn = TypeOf<typeof conversationTurn>;

const modelCompletionRequest = struct({
  session_id: str,
  branch_id: str,
  run_id: str,
  step_index: u32,
  objective: str,
  proposed_tool: optional(toolCall),
  system_prompt: optional(str),
  /** The only tools that the model may be shown; absent = all. */
  allowed_tools: optional(list(str)),
  /** The conversation so far from the journal, oldest first; the objective is in it as the run's user turn. */
  conversation_history: sparse(list(conversationTurn)),
});
export type ModelCompletionRequest = TypeOf<typeof modelCompletionRequest>;

const modelDirective = tagged("type", {
  text_delta: { delta: str, index: optional(u32) },
  message: { role: str, content: str },
  tool_call: { call: toolCall },
});
export type ModelDirective = TypeOf<typeof modelDirective>;

const plainStop = word("completed", "tool_call", "max_iterations", "cancelled", "error");
const otherStop = struct({ other: str });
type ModelStopReason = TypeOf<typeof plainStop> | TypeOf<typeof otherStop>;
const modelStopReason: Shape<ModelStopReason> = {
  write: (value, at) => (typeof value === "string" ? plainStop.write(value, at) : otherStop.write(value, at)),
  read: (value, at) => (typeof value === "string" ? plainStop.read(value, at) : otherStop.read(value, at)),
};

/** `tool_call`: there is more to say once the calls are done. Any other reason: this is the end. */
export const modelCompletion = struct({
  provider: str,
  model: str,
  directives: defaulted(list(modelDirective), []),
  stop_reason: modelStopReason,
  usage: optional(tokenUsage),
  final_answer: optional(str),
});
export type ModelCompletion = TypeOf<typeof modelCompletion>;

export interface ToolExecutionRequest {
  readonly session_id: string;
  readonly workspace_root: string;
  readonly call: ToolCall;
}

interface ApprovalRequest {
  readonly session_id: string;
  readonly call_id: string;
  readonly tool_name: string;
  readonly capability: Capability;
  readonly reason: string;
}

export interface ApprovalTicket extends ApprovalRequest {
  readonly approval_id: string;
  /** RFC 3339. */
  readonly created_at: string;
}

export interface ApprovalResolution {
  readonly approval_id: string;
  readonly approved: boolean;
  readonly actor: string;
  /** RFC 3339. */
  readonly resolved_at: string;
}

/**
 * Events by (session, branch), from sequence 1 on, without gaps. A branch reads through to its parent up to where it forked.
 * What was acknowledged is on disk.
 */
interface EventStorePort {
  /**
   * The event as stored. Its sequence must be the one that comes next: ABORTED otherwise. An event that is there already (same
   * event_id, same content) is acknowledged again: a call may be repeated.
   */
  append(event: EventRecord): Promise<EventRecord>;
  /** At most `limit` events in order, from a sequence on. */
  read(session_id: string, branch_id: string, from_sequence: number, limit: number): Promise<readonly EventRecord[]>;
  /** The last sequence; 0 when there is no event. */
  head(session_id: string, branch_id: string): Promise<number>;
  /** The events after a sequence, then each as it comes, until the reader ends it. */
  subscribe(session_id: string, branch_id: string, after_sequence: number): AsyncIterable<EventRecord>;
}

interface ModelProviderPort {
  /** Throws when there is no answer. `signal` aborts when nobody waits for it any more. */
  complete(request: ModelCompletionRequest, signal: AbortSignal): Promise<ModelCompletion>;
}

interface ToolHarnessPort {
  /** The outcome of the call. Throws only when that is not known. */
  execute(request: ToolExecutionRequest, signal: AbortSignal): Promise<ToolExecutionReport>;
}

export interface PolicyGatePort {
  /** A capability that is in none of the three lists counts as denied. */
  evaluate(session_id: string, requested: readonly Capability[]): Promise<PolicyGateDecision>;
  set_policy(session_id: string, policy: PolicySet): Promise<void>;
}

export interface ApprovalPort {
  /** Asked again for the same call and capability, it gives the same ticket. */
  enqueue(request: ApprovalRequest): Promise<ApprovalTicket>;
  list_pending(session_id: string): Promise<readonly ApprovalTicket[]>;
  /** Takes the ticket off the list. What decides is the journal: the kernel calls this after it has written the decision there. */
  resolve(approval_id: string, approved: boolean, actor: string): Promise<ApprovalResolution>;
}

/** The event store with what branches need beside. */
export interface Journal extends EventStorePort {
  /** Makes a branch that has what `from_branch` has up to `fork_sequence`. The same fork again is no error. */
  fork(session_id: string, branch_id: string, from_branch: string, fork_sequence: number): Promise<void>;
  /** All of the events or none, as `append`. Where it is absent they are appended one by one. */
  append_all?(events: readonly EventRecord[]): Promise<void>;
}

/** A model's answer with its cost beside tokens. */
export interface PricedCompletion extends ModelCompletion {
  /** US dollars; absent = nothing. */
  readonly cost_usd?: number;
}

/** The model provider with what a budget in money needs beside. */
export interface ModelProvider extends ModelProviderPort {
  complete(request: ModelCompletionRequest, signal: AbortSignal): Promise<PricedCompletion>;
}

/** A tool's own statement about a call. */
export interface ToolRequirements {
  /** The capabilities it needs, its resources filled in. */
  readonly capabilities: readonly Capability[];
  readonly risk: RiskLevel;
  /** It changes something. */
  readonly changes: boolean;
}

/**
 * The fate of a call, by its id: `absent`, it was never begun; `running`; `done`, with its report; `interrupted`, it
 * was begun, and whether it took effect is not known.
 */
export type ToolFate =
  | { readonly state: "absent" | "running" | "interrupted" }
  | { readonly state: "done"; readonly report: ToolExecutionReport };

/** The tool harness with what exactly-once needs beside: call ids are the kernel's, and a call begins at most once by its id. */
export interface ToolHarness extends ToolHarnessPort {
  /** Throws NOT_FOUND when there is no such tool, INVALID_ARGUMENT when the input does not fit it. */
  requirements(call: ToolCall): Promise<ToolRequirements>;
  /** The call's fate by the harness's ledger. */
  fate(request: ToolExecutionRequest): Promise<ToolFate>;
  /** As `fate`; and a call that was absent will not begin any more, also when a request for it is still on its way. */
  withdraw(request: ToolExecutionRequest): Promise<ToolFate>;
}

export interface Ports {
  readonly journal: Journal;
  readonly model: ModelProvider;
  readonly tools: ToolHarness;
  readonly gate: PolicyGatePort;
  /**
   * For clients whose kernel itself asks persons. Absent = it asks nobody: what the gate wants approved is denied. The sessions of
   * aiOS leave it out, since aios-tools asks, by tickets of its own, when an agent makes the call.
   */
  readonly approvals?: ApprovalPort;
}

/** A completion as JSON for the journal, and back. Throws INVALID_ARGUMENT when it is not one. */
export function checkedCompletion(value: unknown): ModelCompletion {
  if (value === undefined) throw wrong("completion", "an object", value);
  return modelCompletion.read(value, "completion");
}
