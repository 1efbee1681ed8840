import { ToolRegistryService } from "#proto/aios/tools";
import { executeApproved } from "../approved.ts";
import type { Machine } from "../machine.ts";

/** Looks at a machine, and prepares it, by its own tools, as the operator. */
export interface Probe {
  /** What the tool gave. Throws with the tool's reason. */
  call(tool: string, input: object): Promise<Record<string, unknown>>;
  /** Whether the tool says no. */
  refuses(tool: string, input: object): Promise<boolean>;
  content(path: string): Promise<string>;
  exists(path: string): Promise<boolean>;
  close(): void;
}

/** Tools that install and unpack take their time, and more of it under emulation. */
const callTimeoutMs = 600_000;

export function probe(machine: Machine): Probe {
  const tools = machine.client(ToolRegistryService);
  const ask = (toolName: string, input: object) => {
    const inputJson = Buffer.from(JSON.stringify(input));
    const request = { toolName, agentId: "", taskId: "", inputJson, reason: "the host looks at the machine" };
    return executeApproved(tools, request, { timeoutMs: callTimeoutMs });
  };
  const call: Probe["call"] = async (tool, input) => {
    const { success, error, outputJson } = await ask(tool, input);
    if (!success) throw new Error(`${tool} ${JSON.stringify(input)}: ${error}`);
    return JSON.parse(outputJson.toString());
  };
  return {
    call,
    refuses: async (tool, input) => !(await ask(tool, input)).success,
    content: async (path) => String((await call("fs.read", { path }))["content"]),
    exists: async (path) => (await ask("fs.stat", { path })).success,
    close: () => tools.close(),
  };
}
