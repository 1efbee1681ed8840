/**
 * Exactly once. A call's id is a hash of session, branch, run, step and directive; models repeat theirs.
 * `ToolCallStarted` with that id is durable before the harness is asked. A kernel that finds such an event and did not
 * write it itself asks for the call's *fate*, and asks to execute only what was never begun; aios-tools executes an id
 * once however often it is asked (`x-aios-execution-id`, from the running call or the ledger), so a request that is
 * still on its way does no harm. A call to be given up is *withdrawn* first: then it does not begin any more. What was
 * interrupted may have taken effect; it is told so to the model, and not repeated. Results longer than 4 KiB come back
 * from the ledger as hash and beginning.
 */
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { patiently } from "#lib/patience";
import { shortenResult } from "./calls.ts";
import type { Json } from "./events.ts";
import type { KindOf } from "./kinds.ts";
import type { Limits } from "./limits.ts";
import type { ToolExecutionReport, ToolExecutionRequest, ToolFate, ToolHarness } from "./ports.ts";

/** The end of a call that was begun. */
type Outcome = KindOf<"ToolCallCompleted"> | KindOf<"ToolCallFailed">;

interface Carrying {
  readonly tools: ToolHarness;
  readonly clock: Clock;
  readonly limits: Limits;
  /** The tool's own deadline. */
  readonly runtimeMs: number;
  /** Aborted when the run is cancelled: the call is stopped, and what became of it is asked. */
  readonly cancelled: AbortSignal;
}

/**
 * Carries out a call whose intent is in the journal, and says how it ended. `fresh`: this kernel has written the intent just now,
 * so that nobody can have asked before. Otherwise the harness is asked what became of it, and it is carried out only when it was
 * never begun. Throws UNAVAILABLE when it cannot be known: the call stays open, and is taken up again.
 */
export async function carryOut(carrying: Carrying, request: ToolExecutionRequest, fresh: boolean): Promise<Outcome> {
  const { limits, clock } = carrying;
  try {
    const patience = { firstMs: limits.retryMs, triesMax: limits.triesMax };
    return await patiently(patience, { clock }, (attempt) => tried(carrying, request, fresh && attempt === 1));
  } catch (error) {
    throw new AiosError(
      "UNAVAILABLE",
      {
        act: "carry out",
        object: `${request.call.tool_name}, call ${request.call.call_id}`,
        reason: `the tools do not say what became of it: ${messageOf(error)}`,
        next: "it is asked again; see that aios-tools runs",
      },
      { cause: error },
    );
  }
}

async function tried(carrying: Carrying, request: ToolExecutionRequest, fresh: boolean): Promise<Outcome> {
  const { tools, cancelled, limits } = carrying;
  const fate = fresh && !cancelled.aborted ? ({ state: "absent" } as const) : await settled(carrying, request);
  switch (fate.state) {
    case "done":
      return completed(request, fate.report, limits);
    case "interrupted":
      return broken(request, "error", "it was interrupted; it may have taken effect, look before you repeat it");
    case "running":
      return broken(request, "timeout", "it did not end in time, and may still take effect");
    case "absent":
      if (!cancelled.aborted) return completed(request, await inTime(carrying, request), limits);
      // It may have been cancelled since it was asked: only what was withdrawn will not begin.
      return (await tools.withdraw(request)).state === "absent"
        ? refusedNow(request, "it was cancelled before it began")
        : tried(carrying, request, false);
  }
}

/** The tool's report, waited for as long as the tool may take. */
async function inTime(
  { tools, clock, limits, runtimeMs, cancelled }: Carrying,
  request: ToolExecutionRequest,
): Promise<ToolExecutionReport> {
  const over = new AbortController();
  const late = clock.sleep(runtimeMs + limits.toolGraceMs, over.signal).then(() => {
    throw new AiosError("DEADLINE_EXCEEDED", `${request.call.tool_name}: no report in time`);
  });
  late.catch(() => {});
  try {
    const signal = AbortSignal.any([over.signal, cancelled]);
    return await Promise.race([tools.execute(request, signal), late]);
  } finally {
    over.abort();
  }
}

/** What became of a call that was begun: waited for while it still runs. */
async function settled(carrying: Carrying, request: ToolExecutionRequest): Promise<ToolFate> {
  const { tools, clock, limits, runtimeMs, cancelled } = carrying;
  const until = clock.monotonic() + runtimeMs + limits.toolGraceMs;
  for (let wait = limits.retryMs; ; wait = Math.min(wait * 2, 5_000)) {
    const fate = cancelled.aborted ? await tools.withdraw(request) : await tools.fate(request);
    if (fate.state !== "running" || clock.monotonic() >= until) return fate;
    await clock.sleep(wait);
  }
}

function completed({ call }: ToolExecutionRequest, report: ToolExecutionReport, limits: Limits): Outcome {
  const { call_id, tool_name } = call;
  const { outcome, duration_ms } = report;
  const ok = outcome.status === "success";
  const result: Json = ok ? shortenResult(outcome.output, limits.resultLengthMax) : { error: outcome.error };
  const status = ok ? "ok" : "error";
  return {
    type: "ToolCallCompleted",
    tool_run_id: report.tool_run_id,
    call_id,
    tool_name,
    result,
    duration_ms,
    status,
  };
}

function broken({ call }: ToolExecutionRequest, status: "error" | "timeout", error: string): Outcome {
  const { call_id, tool_name } = call;
  return {
    type: "ToolCallCompleted",
    tool_run_id: call_id,
    call_id,
    tool_name,
    result: { error },
    duration_ms: 0,
    status,
  };
}

function refusedNow({ call: { call_id, tool_name } }: ToolExecutionRequest, error: string): Outcome {
  return { type: "ToolCallFailed", call_id, tool_name, error };
}
