import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Client } from "#lib/service";
import type { ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import type { JsonObject } from "./goal.ts";
import type { Execution, ToolFacts, Tools, Trace } from "./tools.ts";

/** What is known of a tool is asked for anew after this time. */
const factsKeptMs = 60_000;

/** The clock may have been set back since the task began. */
const clockJumpMs = 86_400_000;

/** Entries of the ledger that are looked through for one task. */
const traceEntriesMax = 500;

/** aios-tools over its own socket. */
export function toolsOver(client: Client<typeof ToolRegistryService>, clock: Clock): Tools {
  let all: { readonly facts: readonly ToolFacts[]; readonly at: number } | undefined;
  const facts = new Map<string, { readonly facts: Promise<ToolFacts | undefined>; readonly at: number }>();

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

  /** What is not there, or cannot be told at present, is asked for again the next time. */
  const ask = async (name: string): Promise<ToolFacts | undefined> => {
    try {
      return factsOf(await client.getTool({ name }));
    } catch (error) {
      facts.delete(name);
      if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  };

  const audit = async (taskId: string, agent: string, tool: string, since: number): Promise<AuditedCall[]> => {
    const from = Math.max(0, since - clockJumpMs);
    const filter = { agent_id: agent, tool_name: tool, since: from, limit: traceEntriesMax };
    const { entries = [] } = await execute("sec.audit", filter, taskId, `what became of task ${taskId}`);
    return (entries as unknown as AuditedCall[]).filter((entry) => entry.task_id === taskId);
  };

  return {
    async list() {
      if (all === undefined || clock.monotonic() - all.at >= factsKeptMs) {
        const { tools } = await client.listTools({ namespace: "" });
        all = { facts: tools.map(factsOf), at: clock.monotonic() };
      }
      return all.facts;
    },
    find(name) {
      const kept = facts.get(name);
      if (kept !== undefined && clock.monotonic() - kept.at < factsKeptMs) return kept.facts;
      // Kept from the moment on that it is asked for: a thousand goals that begin together ask once.
      const asked = ask(name);
      facts.set(name, { facts: asked, at: clock.monotonic() });
      return asked;
    },
    async grant(agent, capabilities, taskId, durationMs, ask = false) {
      if (capabilities.length === 0) return;
      const seconds = Math.ceil(durationMs / 1_000);
      const reason = `task ${taskId}`;
      const input = {
        agent_id: agent,
        capabilities: [...capabilities],
        reason,
        duration_seconds: seconds,
        task_id: taskId,
        ...(ask && { ask }),
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
    trace: async (taskId, agent, tool, since) => traceIn(await audit(taskId, agent, tool, since)),
    executions: async (taskId, agent, tool, since) =>
      (await audit(taskId, agent, tool, since)).map(executionOf).toReversed(),
  };
}

function factsOf(definition: ToolDefinition): ToolFacts {
  const { name, description, requiredCapabilities, idempotent, timeoutMs, inputSchema, outputSchema } = definition;
  const input = schemaIn(inputSchema);
  const outputs = Object.keys(schemaIn(outputSchema).properties ?? {});
  const told = { summary: description, input, outputs };
  return { name, ...told, capabilities: requiredCapabilities, idempotent, timeoutMs: timeoutMs || 30_000 };
}

function schemaIn(bytes: Buffer): ToolFacts["input"] {
  return JSON.parse(bytes.toString("utf8") || "{}") as ToolFacts["input"];
}

/** A call as sec.audit tells it. */
interface AuditedCall {
  readonly execution_id: string;
  readonly duration_ms: number | null;
  readonly task_id: string;
  readonly state: "waiting" | "open" | "done" | "failed" | "refused";
  /** JSON; a long one is {sha256, bytes, begins} instead. */
  readonly output: string;
  readonly error: string;
}

/** What became of the task by the newest call that was let through. */
function traceIn(entries: readonly AuditedCall[]): Trace {
  const calls = entries.filter(({ state }) => state !== "refused" && state !== "waiting");
  const done = calls.find(({ state }) => state === "done");
  if (done !== undefined) return { kind: "done", output: outputOf(done) };
  const [last] = calls;
  if (last === undefined) return { kind: "none" };
  return last.state === "failed" ? { kind: "failed", error: last.error } : { kind: "open" };
}

function executionOf({ execution_id: id, state, error, duration_ms }: AuditedCall): Execution {
  return { id, state, error, durationMs: duration_ms ?? undefined };
}

function outputOf({ output }: AuditedCall): JsonObject | undefined {
  const value = JSON.parse(output) as JsonObject;
  return ["sha256", "bytes", "begins"].every((key) => key in value) ? undefined : value;
}
