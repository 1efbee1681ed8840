/**
 * The agents of this machine: their processes and groups, who is there, the queues for a place, and what each has been
 * given to do. Goals, plans, sessions and what the machine does of itself come in; nothing in here knows of them.
 */

export { type AgentConfig, readAgents } from "./agent-config.ts";
export { agentGroups, type GroupOf } from "./agent-groups.ts";
export { agentSpawner, type ProcessState, superviseAgents } from "./agent-processes.ts";
export { agentProgram } from "./agent-program.ts";
export { type Agent, type Agents, openAgents } from "./agents.ts";
export { type Assignments, type Ending, type Handout, openAssignments, type Report, reasonOf } from "./assignments.ts";
export { loadedModels, taskCanceller } from "./clients.ts";
export type { Place } from "./queues.ts";
export { openStandingGrants, type StandingGrants } from "./standing-grants.ts";
export { openUsageLimits, type UsageLimits } from "./usage-limits.ts";
