import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Client } from "#lib/service";
import type { ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import type { JsonObject } from "./goal.ts";
import type { ToolFacts, Tools, Trace } from "./tools.ts";

/** What is known of a tool is asked for anew after this time. */
const factsKeptMs = 60_000;

/** The clock may have been set back since the task began. */
const clockJumpMs = 86_400_000;

/** Entries of the ledger that are looked through for one task. */
const traceEntriesMax = 500;

/** aios-tools over its own socket. */
export function toolsOver(client: Client<typeof ToolRegistryService>, clock: Clock): Tools {
  const facts = new Map<string, { readonly facts: ToolFacts; readonly at: number }>();

  const execute = async (tool: string, input: JsonObject, taskId: string, reason: string): Promise<JsonObject> => {
    const answer = await client.execute({
      toolName: tool,
      agentId: "orchestrator",
      taskId,
      inputJson: Buffer.from(JSON.stringify(input)),
      reason,
    });
    if (!answer.success) throw new AiosError("FAILED_PRECONDITION", `${tool}: ${answer.error}`);
    return JSON.parse(answer.outputJson.toString("utf8")) as JsonObject;
  };

  return {
    async find(name) {
      const kept = facts.get(name);
      if (kept !== undefined && clock.monotonic() - kept.at < factsKeptMs) return kept.facts;
      try {
        const found = factsOf(await client.getTool({ name }));
        facts.set(name, { facts: found, at: clock.monotonic() });
        return found;
      } catch (error) {
        if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
        throw error;
      }
    },
    async grant(agent, capabilities, taskId, durationMs) {
      if (capabilities.length === 0) return;
      const seconds = Math.ceil(durationMs / 1_000);
      const reason = `task ${taskId}`;
      const input = {
        agent_id: agent,
        capabilities: [...capabilities],
        reason,
        duration_seconds: seconds,
        task_id: taskId,
      };
      await execute("sec.grant", input, taskId, reason);
    },
    async revoke(agent, taskId) {
      await execute("sec.revoke", { agent_id: agent, task_id: taskId }, taskId, `task ${taskId} has ended`);
    },
    async revokeAll(agent) {
      await execute(
        "sec.revoke",
        { agent_id: agent, revoke_all: true },
        "",
        "the orchestrator starts: no task is running",
      );
    },
    async trace(taskId, agent, tool, since) {
      const filter = {
        agent_id: agent,
        tool_name: tool,
        since: Math.max(0, since - clockJumpMs),
        limit: traceEntriesMax,
      };
      return traceIn(await execute("sec.audit", filter, taskId, `what became of task ${taskId}`), taskId);
    },
  };
}

function factsOf(definition: ToolDefinition): ToolFacts {
  const { name, requiredCapabilities, idempotent, timeoutMs, inputSchema } = definition;
  const input = JSON.parse(inputSchema.toString("utf8") || "{}") as ToolFacts["input"];
  return { name, capabilities: requiredCapabilities, input, idempotent, timeoutMs: timeoutMs || 30_000 };
}

/** A call as sec.audit tells it. */
interface AuditedCall {
  readonly task_id: string;
  readonly state: "open" | "done" | "failed" | "refused";
  /** JSON; a long one is {sha256, bytes, begins} instead. */
  readonly output: string;
  readonly error: string;
}

/** What became of the task by the newest call that was let through. */
function traceIn(audit: JsonObject, taskId: string): Trace {
  const entries = (audit["entries"] ?? []) as unknown as readonly AuditedCall[];
  const calls = entries.filter((entry) => entry.task_id === taskId && entry.state !== "refused");
  const done = calls.find(({ state }) => state === "done");
  if (done !== undefined) return { kind: "done", output: outputOf(done) };
  const [last] = calls;
  if (last === undefined) return { kind: "none" };
  return last.state === "failed" ? { kind: "failed", error: last.error } : { kind: "open" };
}

function outputOf({ output }: AuditedCall): JsonObject | undefined {
  const value = JSON.parse(output) as JsonObject;
  return ["sha256", "bytes", "begins"].every((key) => key in value) ? undefined : value;
}
