import { usedUp } from "./budget.ts";
import { callId } from "./calls.ts";
import type { EventKind } from "./kinds.ts";
import type { Limits } from "./limits.ts";
import type { Capability, LoopPhase, TokenUsage } from "./shapes.ts";
import type { BranchState, OpenCall, Run } from "./state.ts";
import { modeOf, stateVector } from "./vitals.ts";

/** The next step on a branch: an event to write, a port to ask, or nothing. */
export type Step =
  | { readonly do: "append"; readonly kind: EventKind }
  | { readonly do: "complete" | "judge" | "carry-out" | "idle" }
  | { readonly do: "enqueue"; readonly capability: Capability }
  /** For a person; milliseconds since the epoch until when. */
  | { readonly do: "wait"; readonly until: number };

/** The facts that a decision needs beside the state. */
interface Circumstances {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly limits: Limits;
  /** An id that was not given before. */
  id(): string;
}

const append = (kind: EventKind): Step => ({ do: "append", kind });

/**
 * The next step, from nothing but the state: perceive → deliberate → gate → execute → commit → reflect. A kernel that starts
 * anew on a journal decides as the one that wrote it would have.
 */
export function decide(state: BranchState, world: Circumstances): Step {
  return report(state, world) ?? (state.run === undefined ? reflect(state, world) : goOn(state, state.run, world));
}

const inPhase = ({ phase }: BranchState, wanted: LoopPhase, step: Step): Step =>
  phase === wanted ? step : append({ type: "PhaseEntered", phase: wanted });

/** The report of a change that must come before anything else. */
function report(state: BranchState, { limits }: Circumstances): Step | undefined {
  const { run, vitals } = state;
  if (run !== undefined && !run.tripped && run.errors > 0 && vitals.errorStreak >= limits.breakerErrors) {
    const error_streak = vitals.errorStreak;
    return append({ type: "CircuitBreakerTripped", reason: run.lastError, error_streak });
  }
  const { mode, reason } = modeOf(state, limits);
  return mode === state.mode ? undefined : append({ type: "ModeChanged", from: state.mode, to: mode, reason });
}

/** After a run: what it took, how it stands, a checkpoint. */
function reflect(state: BranchState, { limits, id }: Circumstances): Step {
  const { owed, budget, runs } = state;
  const reason = `run ${runs.at(-1)?.runId}: ${runs.at(-1)?.reason}`;
  if (owed.budget) return append({ type: "BudgetUpdated", budget, reason });
  if (owed.estimate) return append(estimate(state, limits));
  if (owed.checkpoint) {
    const hash = { event_sequence: state.head, state_hash: state.digest };
    return append({ type: "CheckpointCreated", checkpoint_id: id(), ...hash });
  }
  if (owed.heartbeat) {
    const checkpoint = state.checkpoints.at(-1);
    const made = checkpoint === undefined ? {} : { checkpoint_id: checkpoint.checkpointId };
    return append({ type: "Heartbeat", summary: `${state.runCount} runs`, ...made });
  }
  return inPhase(state, "sleep", { do: "idle" });
}

const estimate = (state: BranchState, limits: Limits): EventKind => ({
  type: "StateEstimated",
  state: stateVector(state, limits),
  mode: modeOf(state, limits).mode,
});

function goOn(state: BranchState, run: Run, world: Circumstances): Step {
  if (run.call?.stage === "started") return inPhase(state, "execute", { do: "carry-out" });
  switch (run.stage) {
    case "requested":
      return append({ type: "UserMessage", content: run.objective });
    case "received":
      if (!run.estimated) return inPhase(state, "perceive", append(estimate(state, world.limits)));
      return append({ type: "RunStarted", provider: run.provider, max_iterations: run.iterationsMax });
    case "started":
    case "stepped":
      return next(state, run);
    case "deliberating": {
      const end = ending(state, run, run.proposed === undefined);
      return end === undefined ? { do: "complete" } : finish(state, run, end);
    }
    case "directing":
      return direct(state, run, world);
  }
}

/** Whether and why a run ends now. */
function ending(state: BranchState, run: Run, asking: boolean): { reason: string; failed?: boolean } | undefined {
  if (run.cancelled !== undefined) return { reason: `cancelled: ${run.cancelled}` };
  if (run.tripped)
    return {
      reason: `circuit breaker: ${state.vitals.errorStreak} errors in a row, the last: ${run.lastError}`,
      failed: true,
    };
  const given = state.config?.budget ?? state.budget;
  const spent = run.exhausted ?? usedUp(state.budget, given, asking);
  if (spent !== undefined) return { reason: `budget: ${spent} used up` };
  const eventsMax = state.config?.policy.max_events_per_turn ?? 0;
  if (eventsMax > 0 && run.events >= eventsMax) return { reason: `events: ${eventsMax} in one run` };
  return undefined;
}

/** Between two steps of a run: the next one, or the end. */
function next(state: BranchState, run: Run): Step {
  const inline = run.proposed !== undefined;
  const end = ending(state, run, !inline);
  if (end !== undefined) return finish(state, run, end);
  if (run.stage === "stepped") {
    const stop = run.completion?.stop_reason ?? "completed";
    const calls = run.completion?.directives.some(({ type }) => type === "tool_call") ?? false;
    if (stop !== "tool_call" || !calls) return finish(state, run, { reason: reasonOf(stop), failed: stop === "error" });
  }
  if (run.steps >= run.iterationsMax) return finish(state, run, { reason: "max_iterations" });
  return inPhase(state, "deliberate", append({ type: "StepStarted", index: run.steps }));
}

const reasonOf = (stop: string | { readonly other: string }): string =>
  typeof stop === "string" ? (stop === "tool_call" ? "completed" : stop) : stop.other;

function finish(state: BranchState, run: Run, { reason, failed = false }: { reason: string; failed?: boolean }): Step {
  if (run.call !== undefined) return abandon(run.call, reason);
  if (failed) return inPhase(state, "reflect", append({ type: "RunErrored", error: reason }));
  const { prompt, completion, total } = run.usage;
  const counted = (tokens: number) => Math.min(tokens, 0xffff_ffff);
  const usage: TokenUsage = {
    prompt_tokens: counted(prompt),
    completion_tokens: counted(completion),
    total_tokens: counted(total),
  };
  const final = run.answer === undefined ? {} : { final_answer: run.answer };
  const end = { reason, total_iterations: run.iterations, ...final, ...(total === 0 ? {} : { usage }) };
  return inPhase(state, "reflect", append({ type: "RunFinished", ...end }));
}

/** Closes a call that was not begun. */
function abandon({ call, tickets }: OpenCall, reason: string): Step {
  const open = tickets.find(({ decision }) => decision === undefined);
  if (open !== undefined)
    return append({ type: "ApprovalResolved", approval_id: open.approvalId, decision: "denied", reason });
  return failed(call, reason);
}

const failed = ({ call_id, tool_name }: OpenCall["call"], error: string): Step =>
  append({ type: "ToolCallFailed", call_id, tool_name, error });

/** Works through what the model answered, in its order. */
function direct(state: BranchState, run: Run, world: Circumstances): Step {
  const end = ending(state, run, false);
  if (end !== undefined) return finish(state, run, end);
  if (run.call !== undefined) return treat(state, run.call, world);
  const { completion, cursor } = run;
  const directive = completion?.directives[cursor];
  if (directive === undefined) {
    const stop_reason = reasonText(completion?.stop_reason ?? "completed");
    const directive_count = completion?.directives.length ?? 0;
    const index = Math.max(0, run.steps - 1);
    return inPhase(state, "commit", append({ type: "StepFinished", index, stop_reason, directive_count }));
  }
  switch (directive.type) {
    case "text_delta": {
      const { delta, index } = directive;
      return append({ type: "TextDelta", delta, ...(index === undefined ? {} : { index }) });
    }
    case "message": {
      const { role, content } = directive;
      return append({ type: "Message", role, content, model: completion?.model ?? "" });
    }
    case "tool_call": {
      const { tool_name, input } = directive.call;
      const { sessionId: session, branchId: branch } = state;
      const call_id = callId({ session, branch, run: run.runId, step: run.steps, directive: cursor });
      const [category = ""] = tool_name.split(".");
      return inPhase(
        state,
        "gate",
        append({ type: "ToolCallRequested", call_id, tool_name, arguments: input, category }),
      );
    }
  }
}

const reasonText = (stop: string | { readonly other: string }) => (typeof stop === "string" ? stop : stop.other);

/** Takes a call from its request to where it may begin. */
function treat(state: BranchState, open: OpenCall, world: Circumstances): Step {
  const { judgement, call, told, tickets } = open;
  if (open.stage === "requested" || judgement === undefined) return inPhase(state, "gate", { do: "judge" });
  const { verdict, rule, explanation = "" } = judgement;
  if (!told) {
    const why = { ...(rule === undefined ? {} : { rule_id: rule }), ...(explanation === "" ? {} : { explanation }) };
    return append({ type: "PolicyEvaluated", tool_name: call.tool_name, decision: verdict, ...why });
  }
  if (verdict === "deny") return failed(call, explanation);
  if (verdict === "allow") {
    const started = append({ type: "ToolCallStarted", tool_run_id: call.call_id, tool_name: call.tool_name });
    return inPhase(state, "execute", started);
  }
  const asked = tickets.length;
  const refused = tickets.find(({ decision }) => decision === "denied" || decision === "timeout");
  if (refused !== undefined) {
    const why = refused.decision === "timeout" ? "nobody approved it in time" : "a person denied it";
    return abandon(open, `${why}: ${refused.capability}`);
  }
  const wanted = judgement.missing[asked];
  if (wanted !== undefined) return { do: "enqueue", capability: wanted };
  return expire(open, world);
}

/** Waits for a person, as long as is waited. */
function expire({ tickets }: OpenCall, { now, limits }: Circumstances): Step {
  const open = tickets.filter(({ decision }) => decision === undefined);
  const until = (askedAt: number) => askedAt + limits.approvalTimeoutMs;
  const late = open.find(({ askedAt }) => until(askedAt) <= now);
  if (late !== undefined)
    return append({ type: "ApprovalResolved", approval_id: late.approvalId, decision: "timeout", reason: "kernel" });
  return { do: "wait", until: Math.min(...open.map(({ askedAt }) => until(askedAt))) };
}
