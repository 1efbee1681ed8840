import { setTimeout as delay } from "node:timers/promises";
import { approvalHeader, type CallOptions, type Client } from "#lib/rpc/service";
import { type ExecuteRequest, type ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";
import type { Machine } from "./machine.ts";

type Tools = Client<typeof ToolRegistryService>;

/** How often it is looked whether a call waits. */
const lookEveryMs = 200;

/** Calls a tool as an admin, who approves the call when it waits, as one does that changes a protected place. */
export async function executeApproved(
  tools: Tools,
  request: ExecuteRequest,
  options: CallOptions,
): Promise<ExecuteResponse> {
  let approving: Promise<unknown> = Promise.resolve();
  const answer = tools.execute(request, {
    ...options,
    onTold: (header) => {
      const own = header(approvalHeader);
      if (own !== undefined) approving = approve(tools, ({ id }) => id === own, options);
    },
  });
  const answered = await answer;
  await approving;
  return answered;
}

/** Waits for what is under way, and as an admin approves each call that a person is asked about meanwhile. */
export async function approving<T>(machine: Machine, act: Promise<T>): Promise<T> {
  const over = new AbortController();
  const ended = act.finally(() => over.abort());
  ended.catch(() => {});
  const tools = machine.client(ToolRegistryService);
  try {
    while (!over.signal.aborted) {
      await approve(tools, () => true, { timeoutMs: 600_000 });
      await delay(lookEveryMs, undefined, { signal: over.signal }).catch(() => {});
    }
  } finally {
    tools.close();
  }
  return ended;
}

interface Waiting {
  readonly id: string;
  readonly digest: string;
}

/** Approves those of the calls that wait, each as it is shown. */
async function approve(tools: Tools, which: (one: Waiting) => boolean, options: CallOptions): Promise<void> {
  const ask = async (toolName: string, input: object) => {
    const inputJson = Buffer.from(JSON.stringify(input));
    const { error, outputJson } = await tools.execute(
      { toolName, agentId: "", taskId: "", inputJson, reason: "the test approves what waits" },
      options,
    );
    if (error !== "") throw new Error(`${toolName}: ${error}`);
    return JSON.parse(outputJson.toString());
  };
  const { waiting } = (await ask("sec.approvals", {})) as { waiting: Waiting[] };
  for (const { id, digest } of waiting.filter(which)) await ask("sec.approve", { id, digest });
}
