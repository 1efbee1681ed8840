import { approvalHeader, type CallOptions, type Client } from "#lib/service";
import type { ExecuteRequest, ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";

type Tools = Client<typeof ToolRegistryService>;

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
      const id = header(approvalHeader);
      if (id !== undefined) approving = approve(tools, id, options);
    },
  });
  const answered = await answer;
  await approving;
  return answered;
}

async function approve(tools: Tools, id: string, options: CallOptions): Promise<void> {
  const ask = async (toolName: string, input: object) => {
    const inputJson = Buffer.from(JSON.stringify(input));
    const { error, outputJson } = await tools.execute(
      { toolName, agentId: "", taskId: "", inputJson, reason: "the test approves its own call" },
      options,
    );
    if (error !== "") throw new Error(`${toolName}: ${error}`);
    return JSON.parse(outputJson.toString());
  };
  const { waiting } = (await ask("sec.approvals", {})) as { waiting: { id: string; digest: string }[] };
  const digest = waiting.find((one) => one.id === id)?.digest;
  await ask("sec.approve", { id, digest });
}
