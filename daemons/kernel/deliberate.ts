import { AiosError } from "#lib/errors";
import type { EventKind } from "./kinds.ts";
import { checkedCompletion, type ModelCompletion, type ModelCompletionRequest } from "./ports.ts";
import type { BranchState, Run } from "./state.ts";
import type { World } from "./writer.ts";

interface Deliberated {
  readonly completion: ModelCompletion;
  readonly costUsd: number;
}

/**
 * The model's answer, or the call that was asked for instead of one. Throws when there is none in time, or one that is beyond
 * the limits; and the signal's reason as soon as it is aborted.
 */
export async function deliberate(
  { ports, clock, limits }: World,
  state: BranchState,
  run: Run,
  cancelled: AbortSignal,
): Promise<Deliberated> {
  if (run.proposed !== undefined) return { completion: inline(run.proposed), costUsd: 0 };
  const over = new AbortController();
  const late = clock.sleep(limits.modelTimeoutMs, over.signal).then(() => {
    throw new AiosError("DEADLINE_EXCEEDED", `no answer within ${limits.modelTimeoutMs} ms`);
  });
  late.catch(() => {});
  const stopped = aborted(cancelled);
  try {
    const signal = AbortSignal.any([over.signal, cancelled]);
    const answer = ports.model.complete(requestOf(state, run), signal);
    const priced = await Promise.race([answer, late, stopped.promise]);
    const completion = checkedCompletion(priced);
    if (completion.directives.length <= limits.directivesMax) return { completion, costUsd: priced.cost_usd ?? 0 };
    throw new AiosError("OUT_OF_RANGE", `${completion.directives.length} directives in one answer`);
  } finally {
    over.abort();
    stopped.forget();
  }
}

/** A summary of an answer, for readers of the journal. */
export function summaryOf({ directives, model }: ModelCompletion): EventKind {
  const calls = directives.filter((directive) => directive.type === "tool_call");
  const [first] = calls;
  const summary = `${model === "" ? "asked for" : model}: ${directives.length} directives, ${calls.length} calls`;
  const proposed = first === undefined ? {} : { proposed_tool: first.call.tool_name };
  return { type: "DeliberationProposed", summary, ...proposed };
}

function requestOf(state: BranchState, run: Run): ModelCompletionRequest {
  const { system_prompt, allowed_tools } = state.config ?? {};
  return {
    session_id: state.sessionId,
    branch_id: state.branchId,
    run_id: run.runId,
    step_index: Math.max(0, run.steps - 1),
    objective: run.objective,
    ...(system_prompt === undefined ? {} : { system_prompt }),
    ...(allowed_tools === undefined ? {} : { allowed_tools }),
    conversation_history: state.turns,
  };
}

const inline = (call: NonNullable<Run["proposed"]>): ModelCompletion => ({
  provider: "inline",
  model: "",
  directives: [{ type: "tool_call", call }],
  stop_reason: "completed",
});

/** Rejects when the signal is aborted, until it is forgotten. */
function aborted(signal: AbortSignal): { promise: Promise<never>; forget(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  return { promise, forget: () => signal.removeEventListener("abort", abort) };
}
