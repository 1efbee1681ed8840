import type {
  RiskLevel,
  ToolCall,
  ToolExecutionReport,
  ToolExecutionRequest,
  ToolFate,
  ToolHarness,
} from "#kernel/ports";
import { parseCapability } from "#lib/capability";
import { AiosError, messageOf } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { ExecuteResponse, ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import { type AuditedCall, callsOver, refusals } from "../../calls.ts";
import { capabilityFor } from "../../grants.ts";
import type { Json, JsonObject } from "../../json.ts";

/** Added to a tool's own deadline: the way there and back. */
const graceMs = 5_000;

interface HarnessOptions {
  /** For whom the calls are made, for the ledger. */
  readonly agent: string;
  /** The task they belong to. */
  readonly task: string;
  /** An id for a call of its own. */
  newId(): string;
}

/**
 * aios-tools as the kernel's harness. The kernel's call id is the execution's id, so that the tools' ledger answers for it. Which
 * socket the client is on decides with whose grants the calls are made.
 */
export function harnessOver(
  client: Client<typeof ToolRegistryService>,
  { agent, task, newId }: HarnessOptions,
): ToolHarness {
  const calls = callsOver(client, newId);
  const callOf = ({ call, session_id }: ToolExecutionRequest) => ({
    ...{ id: call.call_id, tool: call.tool_name, input: call.input as Json },
    ...{ agent, taskId: task, reason: `session ${session_id}` },
  });
  return {
    requirements: async (call) => requirementsOf(await client.getTool({ name: call.tool_name }), call),
    execute: async (request, signal) => {
      const { call } = request;
      try {
        const { timeoutMs } = await client.getTool({ name: call.tool_name });
        const options = { timeoutMs: (timeoutMs || 10_000) + graceMs, ...(signal === undefined ? {} : { signal }) };
        return reportOf(call, await calls.make(callOf(request), options));
      } catch (error) {
        if (error instanceof AiosError && refusals.has(error.code)) return refused(call, messageOf(error));
        throw error;
      }
    },
    fate: async ({ call }) => fateOf(call, await calls.audited(call.call_id, { agent, taskId: task })),
    withdraw: async (request): Promise<ToolFate> => {
      const fate = await calls.withdraw(callOf(request));
      if (fate.kind === "never") return { state: "absent" };
      if (fate.kind === "refused") return { state: "done", report: refused(request.call, fate.error) };
      return fate.kind === "ended"
        ? { state: "done", report: reportOf(request.call, fate.answer) }
        : { state: fate.kind };
    },
  };
}

function fateOf(call: ToolCall, found: AuditedCall | undefined): ToolFate {
  // One that waits for a person has not begun: made again, it waits for the same person.
  if (found === undefined || found.state === "waiting") return { state: "absent" };
  if (found.state === "open") return { state: "running" };
  if (found.state === "interrupted") return { state: "interrupted" };
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

/**
 * The requirements of a call: its tool's templates filled in; paths without dots, so that a pattern means what it says.
 */
function requirementsOf({ requiredCapabilities, riskLevel }: ToolDefinition, { input }: ToolCall) {
  const fields = (typeof input === "object" && input !== null ? input : {}) as JsonObject;
  const capabilities = requiredCapabilities.map((template) => capabilityFor(template, fields));
  // What a tool changes is not in its definition; what only reads says so in each capability.
  const changes = !requiredCapabilities.every((template) => parseCapability(template).action === "read");
  return { capabilities, risk: risks.has(riskLevel) ? (riskLevel as RiskLevel) : "critical", changes };
}
