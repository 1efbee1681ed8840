/**
 * A unit for tests of PID 1: ready at once under the name of its bundle, it says who it is and what it finds in its folder,
 * answers what init asks of the daemon it stands in for, and leaves an orphan behind.
 */
import { spawn } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { runDaemon } from "#lib/daemon";
import { executionHeader, headerOf, type Service, service } from "#lib/rpc/service";
import { AgentListResponse, OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";

const name = basename(process.argv[1] ?? "", ".cjs");

const services: Readonly<Record<string, readonly Service[]>> = {
  orchestrator: [
    service(OrchestratorService, {
      listAgents: () => AgentListResponse.fromPartial({ agents: [{ agentId: "system", status: "idle" }] }),
    }),
  ],
  tools: [
    service(ToolRegistryService, {
      execute: ({ toolName }, { metadata }) =>
        ExecuteResponse.fromPartial({
          success: toolName === "sec.verify_ledger" && headerOf(metadata, executionHeader) !== undefined,
          outputJson: Buffer.from(JSON.stringify({ valid: true, problems: [] })),
        }),
    }),
  ],
  runtime: [
    service(AIRuntimeService, {
      healthCheck: () => ({ healthy: true, service: "aios-runtime", message: "", uptimeSeconds: 0, details: {} }),
    }),
  ],
};

/** Its child ends at once, and so makes PID 1 the parent of the grandchild, which ends a little later. */
if (process.argv[2] === "child") {
  const orphan = spawn(process.execPath, [process.argv[1] ?? "", "grandchild"], { detached: true, stdio: "ignore" });
  writeFileSync("/var/lib/aios/memory/orphan", `${orphan.pid}`);
  setTimeout(() => process.exit(0), 100);
} else if (process.argv[2] === "grandchild") {
  setTimeout(() => process.exit(0), 400);
} else {
  void unit();
}

async function unit(): Promise<void> {
  if (name === "memory") {
    spawn(process.execPath, [process.argv[1] ?? "", "child"], { stdio: "ignore" });
    const starts = "/var/lib/aios/memory/starts";
    appendFileSync(starts, "x");
    console.log(`memory: start ${readFileSync(starts, "utf8").length} as user ${process.getuid?.()}`);
  }
  if (name === "console") console.log(JSON.stringify({ msg: "enrolment code \u001b[2JABCD", console: true }));
  if (name === "gateway") console.log(JSON.stringify({ msg: "the gateway may not speak", console: true }));
  if (name === "tools") writeFileSync("/etc/changed-here", "by tools");
  await runDaemon(name, {}, () => ({ services: () => services[name] ?? [] }));
}
