import type { Code } from "#lib/errors";
import { approvalHeader, type Client, errorCodeHeader, executionHeader } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { AgentRegistration } from "#proto/aios/common";
import type { OrchestratorService } from "#proto/aios/orchestrator";
import type { ToolRegistryService } from "#proto/aios/tools";
import type { Orchestrator } from "./agent.ts";
import type { Load } from "./load.ts";
import type { Settings } from "./settings.ts";
import type { CallTool } from "./work.ts";

/** The orchestrator answers a request for a task within 20 s: one that waits longer is lost. */
const pollTimeoutMs = 25_000;

/** Characters of a reason that the registry takes. */
const reasonLengthMax = 1_024;

/** The orchestrator on the agent's own socket. */
export function orchestratorOver(
  client: Client<typeof OrchestratorService>,
  { name, type, namespaces }: Settings,
  load: () => Load,
): Orchestrator {
  return {
    async register() {
      const own = { agentId: name, agentType: type, toolNamespaces: [...namespaces], status: "idle" };
      await client.registerAgent(AgentRegistration.fromPartial(own));
    },
    async beat({ status, currentTaskId }) {
      const { cpuPercent, memoryMb } = load();
      const beat = { agentId: name, status, currentTaskId, cpuUsage: cpuPercent, memoryUsageMb: memoryMb };
      return (await client.heartbeat(beat)).pendingCommands;
    },
    async next(signal) {
      const task = await client.getAssignedTask({ id: name }, { timeoutMs: pollTimeoutMs, signal });
      if (task.id === "") return undefined;
      return { id: task.id, description: task.description, input: task.inputJson.toString("utf8") };
    },
    async report({ taskId, success, output, error, errorCode, durationMs }) {
      await client.reportTaskResult({
        taskId,
        success,
        outputJson: output,
        error,
        errorCode,
        durationMs,
        tokensUsed: 0,
        modelUsed: "",
      });
    },
    async waits(taskId, waitsFor) {
      async function* updates() {
        yield { taskId, progress: 0, message: "waits for a person", waitsFor };
      }
      await client.streamProgress(updates());
    },
  };
}

/** The tool registry on the agent's own socket. */
export function toolsOver(client: Client<typeof ToolRegistryService>, { name }: Settings): CallTool {
  return async ({ tool, input, taskId, reason, executionId, waits }, timeoutMs, signal) => {
    const request = {
      toolName: tool,
      agentId: name,
      taskId,
      inputJson: input,
      reason: beginning(reason, reasonLengthMax),
    };
    let errorCode: Code | "" = "";
    const answer = await client.execute(request, {
      ...{ timeoutMs, signal },
      ...(executionId !== undefined && { headers: { [executionHeader]: executionId } }),
      onTold(header) {
        const approval = header(approvalHeader);
        if (approval !== undefined) waits?.(approval);
        errorCode = (header(errorCodeHeader) as Code | undefined) ?? errorCode;
      },
    });
    return { success: answer.success, output: answer.outputJson, error: answer.error, errorCode };
  };
}
