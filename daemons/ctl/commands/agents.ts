import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Command, exit } from "../command.ts";
import { moment } from "../words.ts";

export const agents: Command = {
  name: "agents",
  summary: "the agents, what they do and whether they are at work",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl agents", "aiosctl agents --json | jq -r '.agents[] | select(.status == \"active\") | .agentId'"],
  async run({ target, out }) {
    const { agents } = await target().client(OrchestratorService, "orchestrator").listAgents({});
    const rows = agents.map((agent) => [
      agent.agentId,
      agent.agentType,
      agent.status,
      agent.toolNamespaces.join(" ") || "-",
      moment(agent.registeredAt),
    ]);
    out.table(["agent", "type", "status", "tools", "registered (utc)"], rows);
    out.document({ agents });
    return exit.ok;
  },
};
