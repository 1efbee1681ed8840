import type { ToolCall, ToolExecutionReport } from "#kernel/ports";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Agents } from "../agents.ts";
import { type Assignments, personMs, type Report } from "../assignments.ts";
import { besides } from "../besides.ts";
import { type JsonObject, namespaceOf } from "../goal.ts";
import { capabilityFor } from "../grants.ts";
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

/** Beyond its tool's own time a call has so long to be fetched and reported. */
const handoverMs = 15_000;

/** Grants of a call last so long at most, should nobody be left to revoke them. */
const grantMs = personMs + 60_000;

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
  const { agents, tools, clock, log } = parts;
  const { call_id: taskId, tool_name } = call;
  const input = Object(call.input) as JsonObject;
  const tool = await tools.find(tool_name);
  if (tool === undefined)
    return reportOf(call, { success: false, output: "", error: `there is no tool ${tool_name}` }, 0);
  const templates = [...tool.capabilities, ...besides({ tool: tool_name, input }, objectiveOf(talk))];
  const capabilities = templates.map((template) => capabilityFor(template, input));
  const need = { namespace: namespaceOf(tool_name), agent, priority: 1 };
  const place = await agents.place(need, AbortSignal.any([signal, AbortSignal.timeout(placeTimeoutMs)]));
  const began = clock.monotonic();
  try {
    await tools.grant(place.agent, capabilities, taskId, grantMs, true);
    const report = await handOver(place.agent, call, talk, tool.timeoutMs + handoverMs, signal, parts);
    return reportOf(call, report, clock.monotonic() - began);
  } finally {
    place.release();
    await tools
      .revoke(place.agent, taskId)
      .catch((error) => log.warn("a grant ends by its time", { agent, task: taskId, reason: messageOf(error) }));
  }
}

async function handOver(
  agent: string,
  { call_id: taskId, tool_name: tool, input }: ToolCall,
  { session, words }: Talk,
  timeoutMs: number,
  signal: AbortSignal,
  { assignments, clock, waits }: AgentHandsParts,
): Promise<Report> {
  let reported: Report | undefined;
  const assignment = {
    agent,
    handout: {
      ...{ taskId, goalId: session, tool, executionId: taskId, dependsOn: [] },
      description: `asked for in session ${session}: ${words.slice(0, 200)}`,
      input: Object(input) as JsonObject,
      createdAt: clock.now(),
    },
    taken() {},
    async record(report: Report) {
      reported = report;
    },
    waits: (approval: string) => waits(session, taskId, approval),
  };
  const ending = await assignments.give(assignment, timeoutMs, signal);
  if (ending.kind === "recorded" && reported !== undefined) return reported;
  const reason = ending.kind === "lost" ? ending.reason : "its report is lost";
  throw new AiosError("UNAVAILABLE", { act: "make", object: `call ${taskId} of ${tool}`, reason });
}

const objectiveOf = ({ session, words }: Talk) => ({
  ...{ goalId: session, description: words, answers: [], done: [], failure: "" },
});

function reportOf(
  { call_id, tool_name }: ToolCall,
  { success, output, error }: Pick<Report, "success" | "output" | "error">,
  tookMs: number,
): ToolExecutionReport {
  return {
    ...{ tool_run_id: call_id, call_id, tool_name, exit_status: success ? 0 : 1, duration_ms: Math.round(tookMs) },
    outcome: success
      ? { status: "success", output: JSON.parse(output || "{}") }
      : { status: "failure", error: error || "the agent gave no reason" },
  };
}
