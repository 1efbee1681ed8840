/** The kinds of events of aios-protocol: the variants of its `EventKind`, in its order, with their fields in theirs. */
import {
  agentState,
  approvalDecision,
  budgetState,
  loopPhase,
  memoryScope,
  operatingMode,
  policyDecision,
  riskLevel,
  snapshotType,
  spanStatus,
  statePatch,
  steeringMode,
  tokenUsage,
} from "./shapes.ts";
import {
  bool,
  defaulted,
  f32,
  f64,
  i32,
  json,
  list,
  optional,
  str,
  type Tagged,
  tagged,
  u8,
  u32,
  u64,
} from "./wire.ts";

const reasons = defaulted(list(str), []);
const textDelta = { delta: str, index: optional(u32) };
const message = { role: str, content: str, model: optional(str), token_usage: optional(tokenUsage) };
const voiceChunk = { voice_session_id: str, chunk_index: u64, bytes: u64, format: str };

const input = {
  UserMessage: { content: str },
  ExternalSignal: { signal_type: str, data: json },
};

const sessions = {
  SessionCreated: { name: str, config: json },
  SessionResumed: { from_snapshot: optional(str) },
  SessionClosed: { reason: str },
  BranchCreated: { new_branch_id: str, fork_point_seq: u64, name: str },
  BranchMerged: { source_branch_id: str, merge_seq: u64 },
};

const runs = {
  PhaseEntered: { phase: loopPhase },
  DeliberationProposed: { summary: str, proposed_tool: optional(str) },
  RunStarted: { provider: str, max_iterations: u32 },
  RunFinished: { reason: str, total_iterations: u32, final_answer: optional(str), usage: optional(tokenUsage) },
  RunErrored: { error: str },
  StepStarted: { index: u32 },
  StepFinished: { index: u32, stop_reason: str, directive_count: u64 },
  AssistantTextDelta: textDelta,
  AssistantMessageCommitted: message,
  TextDelta: textDelta,
  Message: message,
};

const tools = {
  ToolCallRequested: { call_id: str, tool_name: str, arguments: json, category: optional(str) },
  ToolCallStarted: { tool_run_id: str, tool_name: str },
  ToolCallCompleted: {
    tool_run_id: str,
    call_id: optional(str),
    tool_name: str,
    result: json,
    duration_ms: u64,
    status: spanStatus,
  },
  ToolCallFailed: { call_id: str, tool_name: str, error: str },
};

const knowledge = {
  KnowledgeSearched: { query: str, result_count: u32, top_relevance: f64, duration_ms: u64 },
  KnowledgeRetrieved: { note_count: u32, context_tokens: u32, source: str },
  KnowledgeEvaluated: { health_score: f32, note_count: u32, contradictions: u32, missing_pages: u32, orphans: u32 },
};

const filesAndState = {
  FileWrite: { path: str, blob_hash: str, size_bytes: u64, content_type: optional(str) },
  FileDelete: { path: str },
  FileRename: { old_path: str, new_path: str },
  FileMutated: { path: str, content_hash: str },
  StatePatchCommitted: { new_version: u64, patch: statePatch },
  StatePatched: { index: optional(u32), patch: json, revision: u64 },
  ContextCompacted: { dropped_count: u64, tokens_before: u64, tokens_after: u64 },
};

const policy = {
  PolicyEvaluated: { tool_name: str, decision: policyDecision, rule_id: optional(str), explanation: optional(str) },
  ApprovalRequested: { approval_id: str, call_id: str, tool_name: str, arguments: json, risk: riskLevel },
  ApprovalResolved: { approval_id: str, decision: approvalDecision, reason: optional(str) },
};

const sandboxes = {
  SnapshotCreated: { snapshot_id: str, snapshot_type: snapshotType, covers_through_seq: u64, data_hash: str },
  SandboxCreated: { sandbox_id: str, tier: str, config: json },
  SandboxExecuted: { sandbox_id: str, command: str, exit_code: i32, duration_ms: u64 },
  SandboxViolation: { sandbox_id: str, violation_type: str, details: str },
  SandboxDestroyed: { sandbox_id: str },
};

const memory = {
  ObservationAppended: { scope: memoryScope, observation_ref: str, source_run_id: optional(str) },
  ReflectionCompacted: { scope: memoryScope, summary_ref: str, covers_through_seq: u64 },
  MemoryProposed: { scope: memoryScope, proposal_id: str, entries_ref: str, source_run_id: optional(str) },
  MemoryCommitted: { scope: memoryScope, memory_id: str, committed_ref: str, supersedes: optional(str) },
  MemoryTombstoned: { scope: memoryScope, memory_id: str, reason: str },
};

const homeostasis = {
  Heartbeat: { summary: str, checkpoint_id: optional(str) },
  StateEstimated: { state: agentState, mode: operatingMode },
  BudgetUpdated: { budget: budgetState, reason: str },
  ModeChanged: { from: operatingMode, to: operatingMode, reason: str },
  GatesUpdated: { gates: json, reason: str },
  CircuitBreakerTripped: { reason: str, error_streak: u32 },
  CheckpointCreated: { checkpoint_id: str, event_sequence: u64, state_hash: str },
  CheckpointRestored: { checkpoint_id: str, restored_to_seq: u64 },
};

const voice = {
  VoiceSessionStarted: { voice_session_id: str, adapter: str, model: str, sample_rate_hz: u32, channels: u8 },
  VoiceInputChunk: voiceChunk,
  VoiceOutputChunk: voiceChunk,
  VoiceSessionStopped: { voice_session_id: str, reason: str },
  VoiceAdapterError: { voice_session_id: str, message: str },
};

const worldAndIntent = {
  WorldModelObserved: { state_ref: str, meta: json },
  WorldModelRollout: { trajectory_ref: str, score: optional(f32) },
  IntentProposed: { intent_id: str, kind: str, risk: optional(riskLevel) },
  IntentEvaluated: { intent_id: str, allowed: bool, requires_approval: bool, reasons },
  IntentApproved: { intent_id: str, actor: optional(str) },
  IntentRejected: { intent_id: str, reasons },
};

const hive = {
  HiveTaskCreated: { hive_task_id: str, objective: str, agent_count: u32 },
  HiveArtifactShared: { hive_task_id: str, source_session_id: str, score: f32, mutation_summary: str },
  HiveSelectionMade: { hive_task_id: str, winning_session_id: str, winning_score: f32, generation: u32 },
  HiveGenerationCompleted: { hive_task_id: str, generation: u32, best_score: f32, agent_results: json },
  HiveTaskCompleted: { hive_task_id: str, total_generations: u32, total_trials: u32, final_score: f32 },
};

const queue = {
  Queued: { queue_id: str, mode: steeringMode, message: str },
  Steered: { queue_id: str, preempted_at: str },
  QueueDrained: { queue_id: str, processed: u64 },
  ErrorRaised: { message: str },
  /** Any event without a kind of its own; kinds that a reader does not know are read as this one. */
  Custom: { event_type: str, data: json },
};

export const kinds = {
  ...input,
  ...sessions,
  ...runs,
  ...tools,
  ...knowledge,
  ...filesAndState,
  ...policy,
  ...sandboxes,
  ...memory,
  ...homeostasis,
  ...voice,
  ...worldAndIntent,
  ...hive,
  ...queue,
};

export type EventKind = Tagged<"type", typeof kinds>;
export type KindName = EventKind["type"];
/** The kind of this name, with its fields. */
export type KindOf<N extends KindName> = Extract<EventKind, { readonly type: N }>;

export const eventKind = tagged("type", kinds);
