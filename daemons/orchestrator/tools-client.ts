import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { uuidOf, uuidv7 } from "#lib/ids";
import type { Client } from "#lib/rpc/service";
import type { ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import { type AuditedCall, callsOver } from "./calls.ts";
import type { JsonObject } from "./json.ts";
import type { Execution, ToolFacts, Tools } from "./tools.ts";

/** Time after which the facts of a tool are asked for anew. */
const factsKeptMs = 60_000;

/** In whose name the calls are made. */
const agent = "orchestrator";

/** aios-tools over its own socket. */
export function toolsOver(client: Client<typeof ToolRegistryService>, clock: Clock): Tools {
  let all: { readonly facts: readonly ToolFacts[]; readonly at: number } | undefined;
  const facts = new Map<string, { readonly facts: Promise<ToolFacts | undefined>; readonly at: number }>();

  const newId = () => uuidv7(clock.now());
  const calls = callsOver(client, newId);

  /** Makes a call of the orchestrator's own. One that was interrupted is begun anew, under the next id: it may be repeated. */
  const execute = async (id: string, tool: string, input: JsonObject, taskId: string, reason: string) => {
    for (let own = id; ; own = uuidOf(own)) {
      const answer = await calls.make({ id: own, tool, input, agent, taskId, reason });
      if (answer.success) return;
      if (!answer.interrupted) throw new AiosError("FAILED_PRECONDITION", `${tool}: ${answer.error}`);
    }
  };

  /** Asks for a tool. One that is not there, or cannot be told at present, is asked for again the next time. */
  const ask = async (name: string): Promise<ToolFacts | undefined> => {
    try {
      return factsOf(await client.getTool({ name }));
    } catch (error) {
      facts.delete(name);
      if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
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
    async grant({ id, agent: agent_id, capabilities, taskId: task_id, durationMs, ask }) {
      if (capabilities.length === 0) return;
      const reason = `task ${task_id}`;
      const duration_seconds = Math.ceil(durationMs / 1_000);
      const input = {
        agent_id,
        capabilities: [...capabilities],
        reason,
        duration_seconds,
        task_id,
        ...(ask !== "nothing" && { ask }),
      };
      await execute(id, "sec.grant", input, task_id, reason);
    },
    revoke: (id, agent_id, task_id) =>
      execute(id, "sec.revoke", { agent_id, task_id }, task_id, `task ${task_id} has ended`),
    revokeAll: (id, agent_id) =>
      execute(id, "sec.revoke", { agent_id, revoke_all: true }, "", "the orchestrator starts: no task is running"),
    withdraw: calls.withdraw,
    async executions(ids, taskId) {
      const found = await Promise.all(ids.map((id) => calls.audited(id, { agent, taskId })));
      return found.filter((entry) => entry !== undefined).map(executionOf);
    },
  };
}

function factsOf(definition: ToolDefinition): ToolFacts {
  const { name, description, requiredCapabilities, idempotent, timeoutMs, inputSchema, outputSchema } = definition;
  const input = schemaIn(inputSchema);
  const outputs = Object.keys(schemaIn(outputSchema).properties ?? {});
  const grave = !definition.reversible && ["high", "critical"].includes(definition.riskLevel);
  const told = { summary: description, input, outputs, grave };
  return { name, ...told, capabilities: requiredCapabilities, idempotent, timeoutMs: timeoutMs || 30_000 };
}

function schemaIn(bytes: Buffer): ToolFacts["input"] {
  return JSON.parse(bytes.toString("utf8") || "{}") as ToolFacts["input"];
}

function executionOf({ execution_id: id, state, error, duration_ms, reversible }: AuditedCall): Execution {
  return { id, state, error, durationMs: duration_ms ?? undefined, reversible };
}
