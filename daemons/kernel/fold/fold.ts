import { hash } from "node:crypto";
import { type EventRecord, encodeEvent } from "../events.ts";
import type { Limits } from "../limits.ts";
import { type BranchState, sessionConfig } from "../state.ts";
import { foldCalls } from "./fold-calls.ts";
import { foldRuns, turn } from "./fold-runs.ts";
import type { Folds } from "./folds.ts";

const sessions: Folds = {
  SessionCreated: (state, { config }, { agent_id }) => {
    const read = sessionConfig.read(config, "session.config");
    return { ...state, agentId: agent_id, config: read, budget: read.budget };
  },
  SessionClosed: (state, { reason }) => ({ ...state, closed: `the session was closed: ${reason}` }),
  BranchCreated: (state, { new_branch_id }) => ({ ...state, children: [...state.children, new_branch_id] }),
  BranchMerged: (state, { source_branch_id, merge_seq }) =>
    turn(
      { ...state, merged: [...state.merged, source_branch_id] },
      { role: "tool", content: JSON.stringify({ merged_branch: source_branch_id, up_to: merge_seq }) },
      Number.POSITIVE_INFINITY,
    ),
};

const reports: Folds = {
  PhaseEntered: (state, { phase }) => ({ ...state, phase }),
  ModeChanged: (state, { to }) => ({ ...state, mode: to }),
  StateEstimated: (state) => ({
    ...state,
    owed: { ...state.owed, estimate: false },
    ...(state.run === undefined ? {} : { run: { ...state.run, estimated: true } }),
  }),
  // What the kernel reports is what it has charged already; what somebody else sets counts from here.
  BudgetUpdated: (state, { budget }) => ({ ...state, budget, owed: { ...state.owed, budget: false } }),
  Heartbeat: (state) => ({ ...state, owed: { ...state.owed, heartbeat: false } }),
  CheckpointCreated: (state, { checkpoint_id, event_sequence, state_hash }, _record, limits) => {
    const { turns, vitals } = state;
    const sound = event_sequence === state.head - 1 && state_hash === state.checkpointDigest;
    const made = { checkpointId: checkpoint_id, sequence: event_sequence, sound, turns, vitals };
    const checkpoints = [...state.checkpoints, made].slice(-limits.checkpointsMax);
    return { ...state, checkpoints, owed: { ...state.owed, checkpoint: false } };
  },
  CheckpointRestored: (state, { checkpoint_id }) => {
    const found = state.checkpoints.find(({ checkpointId }) => checkpointId === checkpoint_id);
    // What was spent stays spent.
    return found === undefined ? state : { ...state, turns: found.turns, vitals: found.vitals };
  },
};

const folds: Folds = { ...sessions, ...reports, ...foldRuns, ...foldCalls };

/**
 * The state after one more event. Pure, and all there is to a branch's state: whoever folds the same events has the same state.
 * Kinds that the kernel does not act on only count.
 */
export function fold(before: BranchState, record: EventRecord, limits: Limits): BranchState {
  const started = leaveParentsRun(before, record.branch_id);
  const state: BranchState = {
    ...started,
    head: record.sequence,
    lastEventId: record.event_id,
    checkpointDigest: started.digest,
    digest: hash("sha256", started.digest + encodeEvent(record)),
    ...(started.run === undefined ? {} : { run: { ...started.run, events: started.run.events + 1 } }),
  };
  const { kind } = record;
  const apply = folds[kind.type] as
    | ((state: BranchState, kind: unknown, record: EventRecord, limits: Limits) => BranchState)
    | undefined;
  return apply === undefined ? state : apply(state, kind, record, limits);
}

/** A fork has its parent's history, and not the run that was open when it forked: that one goes on with the parent. */
export function leaveParentsRun(state: BranchState, branchId: string): BranchState {
  if (state.run === undefined || state.run.branchId === branchId) return state;
  const { run: _, ...rest } = state;
  return { ...rest, phase: "sleep" };
}
