import type { BudgetState, PolicySet } from "./shapes.ts";

/** The limits of a kernel. Times in milliseconds. */
export interface Limits {
  /** Questions to the model in one run. */
  readonly iterationsMax: number;
  /** Directives of one answer of the model; a longer answer counts as an error. */
  readonly directivesMax: number;
  /** Errors in a row after which the breaker trips and the run ends. */
  readonly breakerErrors: number;
  /** The loop guard looks at this many calls of the run… */
  readonly loopWindow: number;
  /** …remarks on the same call with the same input from this count on… */
  readonly loopWarn: number;
  /** …and refuses it from this one on. */
  readonly loopBlock: number;
  /** Turns of the conversation that the model is shown, and characters of each. */
  readonly turnsMax: number;
  readonly turnLengthMax: number;
  /** Characters of conversation at which the context counts as full. */
  readonly contextLength: number;
  /** Characters of a tool's result that the journal keeps; longer ones are cut and say so. */
  readonly resultLengthMax: number;
  readonly modelTimeoutMs: number;
  /** How long after its own deadline a tool is waited for before its fate is asked. */
  readonly toolGraceMs: number;
  readonly approvalTimeoutMs: number;
  /** Tries of one call of a port, and the wait after the first failure; it doubles with each. */
  readonly triesMax: number;
  readonly retryMs: number;
  /** A run that cannot go on because a port is away is tried again after this time. */
  readonly stalledMs: number;
  /** A checkpoint is made after this many runs. */
  readonly checkpointEveryRuns: number;
  /** Checkpoints that can be restored, and ended runs that are remembered, in a branch. */
  readonly checkpointsMax: number;
  readonly runsMax: number;
}

export const defaultLimits: Limits = {
  iterationsMax: 24,
  directivesMax: 32,
  breakerErrors: 3,
  loopWindow: 20,
  loopWarn: 3,
  loopBlock: 5,
  turnsMax: 50,
  turnLengthMax: 16_384,
  contextLength: 200_000,
  resultLengthMax: 262_144,
  modelTimeoutMs: 120_000,
  toolGraceMs: 5_000,
  approvalTimeoutMs: 3_600_000,
  triesMax: 5,
  retryMs: 100,
  stalledMs: 10_000,
  checkpointEveryRuns: 1,
  checkpointsMax: 64,
  runsMax: 64,
};

/** The protocol's defaults. */
export const defaultBudget: BudgetState = {
  tokens_remaining: 120_000,
  time_remaining_ms: 300_000,
  cost_remaining_usd: 5,
  tool_calls_remaining: 48,
  error_budget_remaining: 8,
};

/** Nothing is allowed that was not granted; the protocol's times and counts. */
export const defaultPolicy: PolicySet = {
  allow_capabilities: [],
  gate_capabilities: [],
  max_tool_runtime_secs: 30,
  max_events_per_turn: 256,
};
