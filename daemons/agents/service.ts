import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Service, service } from "#lib/rpc/service";
import { AgentService } from "#proto/aios/agent";
import type { Load } from "./load.ts";
import type { Settings } from "./settings.ts";
import type { Work } from "./work.ts";

/** aios.agent.Agent: what the orchestrator asks of an agent. `end` ends the process after the answer. */
export function agentService(
  settings: Settings,
  work: Work,
  clock: Clock,
  load: () => Load,
  end: () => void,
): Service<typeof AgentService> {
  const startedAt = clock.monotonic();
  return service(AgentService, {
    executeTask: async ({ id, description, inputJson }, { signal }) => {
      if (id === "") throw new AiosError("INVALID_ARGUMENT", "execute task: id: it is empty");
      const cancel = () => work.cancel(id, "the caller cancelled the call");
      signal.addEventListener("abort", cancel, { once: true });
      const result = await work.run({ id, description, input: inputJson.toString("utf8") });
      const { success, output, error, errorCode, durationMs } = result;
      return { taskId: id, success, outputJson: output, error, errorCode, durationMs, tokensUsed: 0, modelUsed: "" };
    },
    cancelTask: ({ taskId, reason }) => {
      const success = work.cancel(taskId, reason || "no reason given");
      return { success, message: success ? "stopped" : `task ${taskId} is not running` };
    },
    getStatus: () => {
      const [currentTaskId = ""] = work.running();
      const { cpuPercent, memoryMb } = load();
      return {
        agentId: settings.name,
        agentType: settings.type,
        status: currentTaskId === "" ? "idle" : "active",
        currentTaskId,
        tasksCompleted: work.completed,
        tasksFailed: work.failed,
        uptimeSeconds: Math.floor((clock.monotonic() - startedAt) / 1_000),
        cpuUsage: cpuPercent,
        memoryUsageMb: memoryMb,
      };
    },
    shutdown: () => {
      end();
      return { success: true, message: "ending" };
    },
  });
}
