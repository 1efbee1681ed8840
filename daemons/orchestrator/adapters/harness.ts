import type {
  RiskLevel,
  ToolCall,
  ToolExecutionReport,
  ToolExecutionRequest,
  ToolFate,
  ToolHarness,
} from "#kernel/ports";
import { AiosError, messageOf } from "#lib/errors";
import { type Client, executionHeader, withdrawHeader } from "#lib/service";
import type { ExecuteResponse, ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import type { JsonObject } from "../goal.ts";
import { capabilityFor } from "../grants.ts";

/** Beyond a tool's own deadline: the way there and back. */
const graceMs = 5_000;
/** How the ledger calls an execution that the daemon left between intent and outcome. */
const interrupted = "interrupted:";

export interface HarnessOptions {
  /** For whom the calls are made, for the ledger. */
  readonly agent: string;
  /** The task they belong to. */
  readonly task: string;
}

/**
 * aios-tools as the kernel's harness. The kernel's call id is the execution's id, so that the tools' ledger answers for it. Which
 * socket the client is on decides with whose grants the calls are made.
 */
export function harnessOver(client: Client<typeof ToolRegistryService>, { agent, task }: HarnessOptions): ToolHarness {
  const execute = async (request: ToolExecutionRequest, withdraw: boolean, signal?: AbortSignal) => {
    const { call, session_id } = request;
    const definition = withdraw ? undefined : await client.getTool({ name: call.tool_name });
    const timeoutMs = (definition?.timeoutMs || 10_000) + graceMs;
    const asked = {
      toolName: call.tool_name,
      agentId: agent,
      taskId: task,
      inputJson: Buffer.from(JSON.stringify(call.input)),
      reason: `session ${session_id}`,
    };
    const headers = { [executionHeader]: call.call_id, ...(withdraw ? { [withdrawHeader]: "yes" } : {}) };
    const options = { timeoutMs, headers, ...(signal === undefined ? {} : { signal }) };
    return reportOf(call, await client.execute(asked, options));
  };
  const audited = async ({ call }: ToolExecutionRequest): Promise<Audited | undefined> => {
    const input = { execution_id: call.call_id, limit: 1 };
    const answer = await client.execute({
      toolName: "sec.audit",
      agentId: agent,
      taskId: task,
      inputJson: Buffer.from(JSON.stringify(input)),
      reason: `what became of ${call.call_id}`,
    });
    if (!answer.success) throw new AiosError("UNAVAILABLE", `sec.audit: ${answer.error}`);
    const { entries } = JSON.parse(answer.outputJson.toString("utf8")) as { entries: readonly Audited[] };
    return entries[0];
  };
  return {
    requirements: async (call) => requirementsOf(await client.getTool({ name: call.tool_name }), call),
    execute: async (request, signal) => {
      try {
        return await execute(request, false, signal);
      } catch (error) {
        if (error instanceof AiosError && refusals.has(error.code)) return refused(request.call, messageOf(error));
        throw error;
      }
    },
    fate: async (request) => fateOf(request.call, await audited(request)),
    withdraw: async (request): Promise<ToolFate> => {
      try {
        const report = await execute(request, true);
        return report.outcome.status === "failure" && report.outcome.error.startsWith(interrupted)
          ? { state: "interrupted" }
          : { state: "done", report };
      } catch (error) {
        if (!(error instanceof AiosError)) throw error;
        if (error.code === "ABORTED") return { state: "absent" };
        if (error.code === "FAILED_PRECONDITION") return { state: "running" };
        if (refusals.has(error.code)) return { state: "done", report: refused(request.call, messageOf(error)) };
        throw error;
      }
    },
  };
}

/** The tools said no before anything was done. */
export const refusals: ReadonlySet<string> = new Set([
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
]);

interface Audited {
  readonly state: "waiting" | "open" | "done" | "failed" | "refused";
  readonly output: string;
  readonly error: string;
  readonly duration_ms: number | null;
}

function fateOf(call: ToolCall, found: Audited | undefined): ToolFate {
  // One that waits for a person has not begun: made again, it waits for the same person.
  if (found === undefined || found.state === "waiting") return { state: "absent" };
  if (found.state === "open") return { state: "running" };
  if (found.error.startsWith(interrupted)) return { state: "interrupted" };
  if (found.state === "refused") return { state: "done", report: refused(call, found.error) };
  const { output, error, duration_ms } = found;
  const facts = { success: found.state === "done", error, durationMs: duration_ms ?? 0, backupId: "" };
  const answer = { ...facts, outputJson: Buffer.from(output), executionId: call.call_id };
  return { state: "done", report: reportOf(call, answer) };
}

function reportOf({ call_id, tool_name }: ToolCall, answer: ExecuteResponse): ToolExecutionReport {
  const { success, outputJson, error, durationMs, executionId } = answer;
  return {
    tool_run_id: executionId,
    call_id,
    tool_name,
    exit_status: success ? 0 : 1,
    duration_ms: Math.max(0, Math.round(durationMs)),
    outcome: success
      ? { status: "success", output: JSON.parse(Buffer.from(outputJson).toString("utf8")) }
      : { status: "failure", error },
  };
}

function refused({ call_id, tool_name }: ToolCall, error: string): ToolExecutionReport {
  const facts = { tool_run_id: call_id, call_id, tool_name, exit_status: 1, duration_ms: 0 };
  return { ...facts, outcome: { status: "failure", error } };
}

const risks: ReadonlySet<string> = new Set<RiskLevel>(["low", "medium", "high", "critical"]);

/** What a tool needs for an input: its templates filled in; paths without dots, so that a pattern means what it says. */
function requirementsOf({ requiredCapabilities, riskLevel }: ToolDefinition, { input }: ToolCall) {
  const fields = (typeof input === "object" && input !== null ? input : {}) as JsonObject;
  const capabilities = requiredCapabilities.map((template) => capabilityFor(template, fields));
  // What a tool changes is not in its definition; what only reads says so in each capability.
  const changes = !requiredCapabilities.every((template) => template.split(":")[1] === "read");
  return { capabilities, risk: risks.has(riskLevel) ? (riskLevel as RiskLevel) : "critical", changes };
}
