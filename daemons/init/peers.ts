import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { connect } from "#lib/rpc/client";
import { type Client, executionHeader } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ExecuteRequest, ToolRegistryService } from "#proto/aios/tools";
import { namesIn } from "./base/index.ts";
import type { BootNeeds } from "./boot/index.ts";

type Questions = Pick<BootNeeds, "runtimeProblem" | "missingAgents" | "ledgerProblems">;

/** A ledger of millions of entries takes this long to verify. */
const verifyWithinMs = 600_000;
const working = ["idle", "active", "busy"];

/** The boot's questions to the daemons, over their sockets in `run`. */
export function askPeers(run: string, etc: string, clock: Clock): Questions & { close(): void } {
  const address = (daemon: string) => `unix:${socketPath(run, daemon, "init")}`;
  const runtime = connect(AIRuntimeService, address("runtime"));
  const orchestrator = connect(OrchestratorService, address("orchestrator"));
  const tools = connect(ToolRegistryService, address("tools"));
  let expected: readonly string[] | undefined;
  return {
    async runtimeProblem() {
      const { healthy, message } = await runtime.healthCheck({});
      return !healthy && /\berror\b/.test(message) ? message : undefined;
    },
    async missingAgents() {
      const { agents } = await orchestrator.listAgents({});
      const present = new Set(agents.filter(({ status }) => working.includes(status)).map(({ agentId }) => agentId));
      expected ??= configuredAgents(join(etc, "agents"));
      return expected.filter((name) => !present.has(name));
    },
    ledgerProblems: () => verifyLedger(tools, uuidv7(clock.now())),
    close() {
      for (const client of [runtime, orchestrator, tools]) client.close();
    },
  };
}

/** `executionId`: what was refused or lost is asked for anew, under another. */
async function verifyLedger(
  tools: Client<typeof ToolRegistryService>,
  executionId: string,
): Promise<readonly string[]> {
  const request = ExecuteRequest.fromPartial({
    toolName: "sec.verify_ledger",
    inputJson: Buffer.from("{}"),
    reason: "the ledger is verified at every boot",
  });
  const { success, error, outputJson } = await tools.execute(request, {
    timeoutMs: verifyWithinMs,
    headers: { [executionHeader]: executionId },
  });
  if (!success) throw new AiosError("UNAVAILABLE", `verify the ledger: ${error}`);
  const { valid, problems = [] } = JSON.parse(outputJson.toString()) as { valid: boolean; problems?: unknown[] };
  return valid ? [] : problems.length > 0 ? problems.map(asText) : ["sec.verify_ledger says that it is not valid"];
}

function asText(problem: unknown): string {
  return typeof problem === "string" ? problem : JSON.stringify(problem);
}

/** The names of the agents whose file in `folder` says enabled. A file that cannot be read counts: it is a missing agent. */
export function configuredAgents(folder: string): string[] {
  return namesIn(folder)
    .filter((file) => file.endsWith(".toml"))
    .flatMap((file) => {
      const fallback = file.slice(0, -".toml".length);
      try {
        const { agent } = parse(readFileSync(join(folder, file), "utf8")) as { agent?: Record<string, unknown> };
        return agent?.["enabled"] === false ? [] : [String(agent?.["name"] ?? fallback)];
      } catch (error) {
        return [`${fallback} (${file}: ${messageOf(error).split("\n")[0]})`];
      }
    });
}
