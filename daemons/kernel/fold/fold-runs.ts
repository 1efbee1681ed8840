import { cut } from "#lib/text";
import { charge } from "../budget.ts";
import type { Limits } from "../limits.ts";
import { type Note, noteIn } from "../notes.ts";
import type { ConversationTurn } from "../ports.ts";
import type { BranchState, Run, RunEnd } from "../state.ts";
import { afterFailure } from "../vitals.ts";
import type { Folds } from "./folds.ts";
import { applyVerdict } from "./verdict.ts";

/** The state with one more turn of the conversation. */
export function turn(state: BranchState, { role, content }: ConversationTurn, turnsMax: number): BranchState {
  const vitals = { ...state.vitals, contextLength: state.vitals.contextLength + content.length };
  return { ...state, vitals, turns: [...state.turns, { role, content }].slice(-Math.min(turnsMax, 1_000)) };
}

export function cutTurn(state: BranchState, role: string, content: string, limits: Limits): BranchState {
  const { turnLengthMax, turnsMax } = limits;
  return turn(state, { role, content: cut(content, turnLengthMax + 2, " …") }, turnsMax);
}

/** The state with the open run changed; events outside of a run change nothing. */
export function withRun(state: BranchState, change: (run: Run) => Partial<Run>): BranchState {
  return state.run === undefined ? state : { ...state, run: { ...state.run, ...change(state.run) } };
}

function beginRun(state: BranchState, branchId: string, note: Note<"aios.run_requested">): BranchState {
  const run: Run = {
    runId: note.run_id,
    branchId,
    objective: note.objective,
    ...(note.proposed_tool === undefined ? {} : { proposed: note.proposed_tool }),
    provider: note.provider,
    iterationsMax: note.max_iterations,
    stage: "requested",
    estimated: false,
    steps: 0,
    iterations: 0,
    events: 1,
    cursor: 0,
    window: [],
    outcomes: [],
    usage: { prompt: 0, completion: 0, total: 0 },
    text: "",
    errors: 0,
    lastError: "",
    tripped: false,
  };
  return { ...state, run, vitals: { ...state.vitals, progress: 0 } };
}

function takeAnswer(
  state: BranchState,
  { completion, duration_ms, cost_usd }: Note<"aios.model_completed">,
): BranchState {
  const { prompt_tokens = 0, completion_tokens = 0, total_tokens = 0 } = completion.usage ?? {};
  const tokens = Math.max(total_tokens, prompt_tokens + completion_tokens);
  const budget = charge(state.budget, { tokens, timeMs: duration_ms, costUsd: cost_usd });
  const spentAll = cost_usd > 0 && budget.cost_remaining_usd <= 0 ? { exhausted: "cost" } : {};
  return withRun({ ...state, budget }, ({ usage }) => ({
    ...spentAll,
    completion,
    stage: "directing",
    cursor: 0,
    usage: {
      prompt: usage.prompt + prompt_tokens,
      completion: usage.completion + completion_tokens,
      total: usage.total + tokens,
    },
    ...(completion.final_answer === undefined ? {} : { answer: completion.final_answer }),
  }));
}

function endRun(state: BranchState, status: RunEnd["status"], reason: string, limits: Limits): BranchState {
  const { run, ...rest } = state;
  if (run === undefined) return state;
  const end: RunEnd = {
    runId: run.runId,
    branchId: run.branchId,
    status,
    reason,
    iterations: run.iterations,
    ...(run.answer === undefined ? {} : { answer: run.answer }),
    outcomes: run.outcomes,
    ...(run.lastResult === undefined ? {} : { lastResult: run.lastResult }),
  };
  const runCount = state.runCount + 1;
  const checkpoint = runCount % limits.checkpointEveryRuns === 0;
  // Only the last run's result is kept whole: a long session must not hold all of them.
  const earlier = state.runs.map(({ lastResult: _, ...slim }) => slim).slice(1 - limits.runsMax);
  const progress = status === "finished" && reason === "completed" ? 1 : state.vitals.progress;
  return {
    ...rest,
    runCount,
    runs: [...earlier, end],
    vitals: { ...state.vitals, progress },
    owed: { budget: true, estimate: true, checkpoint, heartbeat: true },
  };
}

/** The folds of a run's events, between its request and its end. */
export const foldRuns: Folds = {
  Custom: (state, kind, { branch_id }) => {
    const found = noteIn(kind);
    if (found === undefined) return state;
    switch (found.name) {
      case "aios.run_requested":
        return beginRun(state, branch_id, found.note);
      case "aios.model_completed":
        return takeAnswer(state, found.note);
      case "aios.gate_evaluated":
        return applyVerdict(state, found.note);
      case "aios.run_cancelled":
        return withRun(state, ({ runId }) =>
          runId === found.note.run_id ? { cancelled: `${found.note.reason} (${found.note.actor})` } : {},
        );
      case "aios.branch_closed":
        return { ...state, closed: `it was merged into ${found.note.merged_into}` };
    }
  },
  UserMessage: (state, { content }, _record, limits) =>
    cutTurn(
      withRun(state, () => ({ stage: "received" })),
      "user",
      content,
      limits,
    ),
  RunStarted: (state) => withRun(state, () => ({ stage: "started" })),
  StepStarted: (state) =>
    withRun(state, ({ steps }) => ({ stage: "deliberating", steps: steps + 1, text: "", cursor: 0 })),
  TextDelta: (state, { delta }) =>
    withRun(state, ({ text, cursor }) => ({ text: text + delta, answer: text + delta, cursor: cursor + 1 })),
  Message: (state, { role, content }, _record, limits) =>
    cutTurn(
      withRun(state, ({ cursor, answer }) => ({
        cursor: cursor + 1,
        ...(role === "assistant" ? { answer: content } : answer === undefined ? {} : { answer }),
      })),
      role === "tool" ? "assistant" : role,
      content,
      limits,
    ),
  StepFinished: (state, _kind, _record, limits) => {
    const { text = "", completion } = state.run ?? {};
    const spoken = text === "" ? state : cutTurn(state, "assistant", text, limits);
    const final = completion?.final_answer;
    return withRun(spoken, ({ iterations }) => ({
      stage: "stepped",
      iterations: iterations + 1,
      ...(final === undefined ? {} : { answer: final }),
    }));
  },
  ErrorRaised: (state, { message }) =>
    state.run === undefined
      ? state
      : withRun(
          { ...state, vitals: afterFailure(state.vitals), budget: charge(state.budget, { errors: 1 }) },
          ({ errors }) => ({ errors: errors + 1, lastError: message }),
        ),
  CircuitBreakerTripped: (state) => withRun(state, () => ({ tripped: true })),
  RunFinished: (state, { reason }, _record, limits) => endRun(state, "finished", reason, limits),
  RunErrored: (state, { error }, _record, limits) => endRun(state, "errored", error, limits),
};
