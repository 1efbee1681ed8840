import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { AgentService } from "#proto/aios/agent";
import type { AIRuntimeService } from "#proto/aios/runtime";

/** The runtime answers at once or not at all: a status must not wait for it. */
const statusTimeoutMs = 1_000;

/** An agent is told to stop a task; one that does not listen is stopped by its grants. */
const cancelTimeoutMs = 2_000;

/** Names of the models that aios-runtime has ready; none while it does not answer. */
export function loadedModels(runtime: Client<typeof AIRuntimeService>): () => Promise<string[]> {
  return async () => {
    try {
      const { models } = await runtime.listModels({}, { timeoutMs: statusTimeoutMs });
      return models.filter(({ status }) => status === "ready").map(({ modelName }) => modelName);
    } catch {
      return [];
    }
  };
}

/** Tells agents, on their own sockets in `folder`, to stop a task. */
export function taskCanceller(folder: string, log: Log): (agent: string, taskId: string, reason: string) => void {
  return (agent, taskId, reason) => {
    const client = connect(AgentService, `unix:${folder}/${agent}/agent.sock`);
    client
      .cancelTask({ taskId, reason }, { timeoutMs: cancelTimeoutMs })
      .catch((error) =>
        log.warn("an agent could not be told to stop a task", { agent, taskId, reason: messageOf(error) }),
      )
      .finally(() => client.close());
  };
}
