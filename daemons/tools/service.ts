import type { Noticed } from "#lib/data/watchful";
import { AiosError } from "#lib/errors";
import { mapErrors } from "#lib/rpc/map-errors";
import {
  approvalHeader,
  errorCodeHeader,
  executionHeader,
  forceHeader,
  headerOf,
  interruptedHeader,
  irreversibleHeader,
  type Service,
  service,
  withdrawHeader,
} from "#lib/rpc/service";
import { type ToolDefinition, ToolRegistryService } from "#proto/aios/tools";
import type { Registry } from "./access/index.ts";
import type { CustomTools } from "./custom/index.ts";
import type { Executor, Rollbacks } from "./pipeline/index.ts";
import type { Tool } from "./tool.ts";

/** Version of the tools that the image carries. */
const catalogueVersion = "1.0.0";

export interface Tools {
  readonly registry: Registry;
  readonly executor: Executor;
  readonly rollbacks: Rollbacks;
  readonly custom: CustomTools;
  readonly noticed: Noticed;
}

/** aios.tools.ToolRegistry over the tools. Who calls is what the socket says, with each call. */
export function toolsService(tools: Tools): Service<typeof ToolRegistryService> {
  const { registry, executor, rollbacks, custom } = tools;
  const handlers = service(ToolRegistryService, {
    listTools: ({ namespace }) => ({ tools: registry.list(namespace).map(definition) }),
    getTool: ({ name }) => definition(registry.find(name)),
    execute: async ({ toolName, agentId, taskId, inputJson, reason }, { identity, signal, metadata, tell, add }) => {
      const request = {
        ...{ tool: toolName, agentId, taskId, inputJson, reason },
        executionId: headerOf(metadata, executionHeader),
        withdraw: headerOf(metadata, withdrawHeader) === "yes",
        waits: (approval: string) => tell({ [approvalHeader]: approval }),
      };
      const done = await executor.perform(request, identity, signal);
      if (done.success && done.irreversible !== undefined) add({ [irreversibleHeader]: done.irreversible });
      if (done.interrupted) add({ [interruptedHeader]: "yes" });
      if (done.errorCode !== undefined) add({ [errorCodeHeader]: done.errorCode });
      return {
        success: done.success,
        outputJson: Buffer.from(done.output),
        error: done.error,
        executionId: done.executionId,
        durationMs: done.durationMs,
        backupId: done.reversible ? done.executionId : "",
      };
    },
    rollback: async ({ executionId, reason }, { identity, signal, metadata }) => {
      const force = headerOf(metadata, forceHeader) === "yes";
      const wish = { executionIds: executionId, reason, force, id: headerOf(metadata, executionHeader) };
      const { success, error } = await rollbacks.rollback(wish, identity, signal);
      return { success, error };
    },
    register: async (request, { identity }) => {
      try {
        await custom.register(request, identity);
        return { accepted: true, error: "" };
      } catch (error) {
        // What is wrong with the tool is its answer; what is wrong with the call is an error.
        if (error instanceof AiosError && (error.code === "INVALID_ARGUMENT" || error.code === "UNAVAILABLE"))
          return { accepted: false, error: error.message };
        throw error;
      }
    },
    deregister: async ({ toolName }, { identity }) => {
      await custom.deregister(toolName, identity);
      return { success: true, message: `${toolName} is no tool any more` };
    },
  });
  return mapErrors(handlers, tools.noticed);
}

/** A tool as its definition on the wire. Undo is by `Rollback` with the execution's id, so no tool is named for it. */
function definition(tool: Tool): ToolDefinition {
  return {
    name: tool.name,
    namespace: tool.namespace,
    version: tool.version ?? catalogueVersion,
    description: tool.summary,
    inputSchema: Buffer.from(JSON.stringify(tool.input)),
    outputSchema: Buffer.from(JSON.stringify(tool.output)),
    requiredCapabilities: [...tool.capabilities],
    riskLevel: tool.risk,
    requiresConfirmation: tool.confirmation,
    idempotent: tool.idempotent,
    reversible: tool.undo !== undefined,
    timeoutMs: tool.timeoutMs,
    rollbackTool: "",
  };
}
