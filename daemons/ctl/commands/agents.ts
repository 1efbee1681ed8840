import type { AgentRegistration } from "#proto/aios/common";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Command, exit } from "../command.ts";
import { duration, moment, size } from "../words.ts";

export const agents: Command = {
  name: "agents",
  summary: "the agents, what they do and whether they are at work",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl agents", "aiosctl agents --json | jq -r '.agents[] | select(.status == \"active\") | .agentId'"],
  async run({ target, out }) {
    const { agents } = await target().client(OrchestratorService, "orchestrator").listAgents({});
    out.table(
      ["agent", "type", "status", "memory", "processor", "tools", "registered (utc)", "reason"],
      agents.map(row),
    );
    out.document({ agents });
    return exit.ok;
  },
};

function row(agent: AgentRegistration): string[] {
  const { memoryBytes, memoryMaxBytes } = agent;
  return [
    agent.agentId,
    agent.agentType,
    agent.status,
    memoryBytes > 0 ? `${size(memoryBytes)} of ${size(memoryMaxBytes)}` : "-",
    agent.cpuMs > 0 ? duration(agent.cpuMs) : "-",
    agent.toolNamespaces.join(" ") || "-",
    moment(agent.registeredAt),
    agent.reason,
  ];
}
