import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { ToolRegistryService } from "#proto/aios/tools";
import { callsOver } from "../calls.ts";
import type { JsonObject } from "../json.ts";

type Registry = Pick<Client<typeof ToolRegistryService>, "execute">;

const callTimeoutMs = 5_000;

/** Marks of grants of this kind, in place of a task. */
const dutiesOf = (agent: string) => `duties:${agent}`;
const requestsOf = (agent: string) => `request:${agent}`;

/** The calls of sec that grant agents what is for no task. */
export function secCalls(registry: Registry, newId: () => string) {
  const calls = callsOver(registry, newId);
  const execute = async (toolName: string, input: JsonObject, reason: string): Promise<Record<string, unknown>> => {
    const call = { id: newId(), tool: toolName, input, agent: "orchestrator", taskId: "", reason };
    const answer = await calls.make(call, { timeoutMs: callTimeoutMs });
    if (!answer.success) throw new AiosError("FAILED_PRECONDITION", `${toolName}: ${answer.error}`);
    return JSON.parse(answer.outputJson.toString("utf8") || "{}") as Record<string, unknown>;
  };
  const grant = async (agent: string, capabilities: readonly string[], reason: string, seconds: number, id: string) => {
    const input = { agent_id: agent, capabilities, reason, duration_seconds: Math.ceil(seconds), task_id: id };
    return Number((await execute("sec.grant", input, reason))["expires_at"]);
  };
  return {
    grantOnRequest: (agent: string, capabilities: readonly string[], reason: string, seconds: number) =>
      grant(agent, capabilities, `asked for: ${reason}`, seconds, requestsOf(agent)),
    async revokeRequested(agent: string, capabilities: readonly string[] | "all"): Promise<number> {
      const named = capabilities === "all" ? {} : { capabilities };
      const input = { agent_id: agent, task_id: requestsOf(agent), ...named };
      return Number((await execute("sec.revoke", input, `agent ${agent} gives it back`))["revoked_count"]);
    },
    async grantStanding(agent: string, capabilities: readonly string[], durationMs: number): Promise<void> {
      // Renewing: the grants before end first, so that they do not add up.
      await execute("sec.revoke", { agent_id: agent, task_id: dutiesOf(agent) }, "standing grants are renewed");
      await grant(agent, capabilities, `the duties of agent ${agent}`, durationMs / 1_000, dutiesOf(agent));
    },
    async revokeStanding(agent: string): Promise<void> {
      await execute("sec.revoke", { agent_id: agent, task_id: dutiesOf(agent) }, `agent ${agent} is off duty`);
    },
  };
}
