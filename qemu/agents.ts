import { users } from "#manifest";

/** The eight agents, by the manifest's accounts. */
export const allAgents = Object.keys(users)
  .filter((user) => user.startsWith("aios-agent-"))
  .map((user) => user.slice("aios-agent-".length))
  .sort();
