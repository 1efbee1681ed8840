/**
 * Who acts is the agent's process, on its own socket: each call is a task of the agent's whose id is the kernel's call
 * id and the execution's, with grants for this one call that end with it. So the tools' ledger answers what became of
 * it, whoever was killed in between.
 *
 * Who is asked: its grants carry `ask`, so whatever changes something or leaves the machine waits for a person, at
 * every autonomy level, by the same tickets as other calls (`aiosctl approvals`, and in the conversation itself, with
 * what would change). The tools tell in a header which approval a call waits for, the agent passes it on, and a task
 * that waits has the time that a person takes. Nothing is polled.
 */
import type { ToolCall, ToolExecutionReport } from "#kernel/ports";
import { type Clock, timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import { beginning } from "#lib/text";
import { type Agents, type Assignments, type Report, reasonOf } from "../agents/index.ts";
import { namespaceOf } from "../goal.ts";
import { openLoan } from "../goals/index.ts";
import { capabilityFor } from "../grants.ts";
import type { JsonObject } from "../json.ts";
import { extraGrants } from "../plans/index.ts";
import type { Tools } from "../tools.ts";
import type { Talk } from "./goal-calls.ts";

export interface AgentHandsParts {
  readonly agents: Pick<Agents, "place">;
  readonly assignments: Assignments;
  readonly tools: Pick<Tools, "find" | "grant" | "revoke">;
  readonly clock: Clock;
  readonly log: Log;
  /** A call waits for a person, by the approval of this id. */
  waits(session: string, callId: string, approval: string): void;
}

/** An agent that does not become free within this time is not waited for. */
const placeTimeoutMs = 60_000;

/**
 * Has an agent make a call on its own socket, as a task whose id is the call's: with grants for this call alone, by which a
 * person is asked about what changes something, and which end with it. Throws UNAVAILABLE when nobody says what came of it.
 */
export async function byAgent(
  agent: string,
  call: ToolCall,
  talk: Talk,
  signal: AbortSignal,
  parts: AgentHandsParts,
): Promise<ToolExecutionReport> {
  const { agents, tools, clock } = parts;
  const { call_id: taskId, tool_name } = call;
  const input = Object(call.input) as JsonObject;
  const tool = await tools.find(tool_name);
  if (tool === undefined)
    return reportOf(call, { success: false, output: "", error: `there is no tool ${tool_name}`, errorCode: "" }, 0);
  const templates = [...tool.capabilities, ...extraGrants({ tool: tool_name, input }, objectiveOf(talk))];
  const capabilities = templates.map((template) => capabilityFor(template, input));
  const need = { namespace: namespaceOf(tool_name), agent, priority: 1 };
  const place = await agents.place(need, AbortSignal.any([signal, timeoutSignal(placeTimeoutMs)]));
  const began = clock.monotonic();
  let reported: Report | undefined;
  const { session, words } = talk;
  const loan = {
    ...{ agent: place.agent, capabilities, timeoutMs: tool.timeoutMs, ask: "changes" as const },
    handout: {
      ...{
        taskId,
        goalId: session,
        tool: tool_name,
        input,
        executionId: taskId,
        dependsOn: [],
        createdAt: clock.now(),
      },
      description: `asked for in session ${session}: ${beginning(words, 200)}`,
    },
    taken() {},
    async record(report: Report) {
      reported = report;
      return { kind: "recorded" } as const;
    },
    waits(approval: string) {
      place.release();
      parts.waits(session, taskId, approval);
    },
  };
  const lent = openLoan(loan, parts);
  try {
    const ending = await lent.carryOut(signal);
    if (reported !== undefined) return reportOf(call, reported, clock.monotonic() - began);
    const reason = ending.kind === "lost" ? ending.reason : "its report is lost";
    throw new AiosError("UNAVAILABLE", { act: "make", object: `call ${taskId} of ${tool_name}`, reason });
  } finally {
    place.release();
    await lent.takeBack();
  }
}

const objectiveOf = ({ session, words }: Talk) => ({
  ...{ goalId: session, description: words, answers: [], done: [], failure: "" },
});

function reportOf(
  { call_id, tool_name }: ToolCall,
  report: Omit<Report, "taskId">,
  tookMs: number,
): ToolExecutionReport {
  const { success, output } = report;
  return {
    ...{ tool_run_id: call_id, call_id, tool_name, exit_status: success ? 0 : 1, duration_ms: Math.round(tookMs) },
    outcome: success
      ? { status: "success", output: JSON.parse(output || "{}") }
      : { status: "failure", error: reasonOf(report) },
  };
}
