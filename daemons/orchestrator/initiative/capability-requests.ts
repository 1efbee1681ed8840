import { isWithin } from "#lib/capability";
import type { AgentConfig } from "../agents/index.ts";
import type { Autonomy } from "./autonomy.ts";

/** The answer to an agent's request: until when it is granted, or why not. */
type Answer = { readonly expiresAt: number } | { readonly denial: string };

export interface CapabilityRequests {
  request(agent: string, capabilities: readonly string[], reason: string, hours: number): Promise<Answer>;
  /** Gives back what was granted on request: these capabilities, or all of them. Returns how many grants have ended. */
  revoke(agent: string, capabilities: readonly string[] | "all"): Promise<number>;
}

/** One grant on request lasts an hour unless it is asked for longer, and a day at most. */
const hoursDefault = 1;
const hoursMax = 24;
const capabilitiesMax = 16;
const reasonLengthMax = 500;

interface RequestParts {
  readonly agents: readonly AgentConfig[];
  readonly autonomy: Pick<Autonomy, "level" | "stop">;
  /** Resolves with when the grant ends. Throws what sec.grant refuses. */
  grant(agent: string, capabilities: readonly string[], reason: string, seconds: number): Promise<number>;
  revoke(agent: string, capabilities: readonly string[] | "all"): Promise<number>;
}

/**
 * Grants what agents ask for, within what their files allow (`requestable`), in their own namespaces, for a while. What a
 * task needs is granted with the task: this is for work of the agent's own.
 */
export function openCapabilityRequests({ agents, autonomy, grant, revoke }: RequestParts): CapabilityRequests {
  const denialOf = (agent: string, capabilities: readonly string[], reason: string, hours: number): string => {
    const config = agents.find(({ name }) => name === agent);
    if (config === undefined) return `agent ${agent} is not configured on this machine`;
    if (autonomy.stop !== undefined) return "the machine is stopped";
    if (autonomy.level === "manual") return "at the autonomy level manual agents are granted nothing on request";
    if (reason.trim() === "") return "no reason was given";
    if (reason.length > reasonLengthMax) return `the reason is longer than ${reasonLengthMax} characters`;
    if (capabilities.length === 0) return "no capability was named";
    if (capabilities.length > capabilitiesMax) return `at most ${capabilitiesMax} capabilities in one request`;
    if (hours < 0 || hours > hoursMax) return `for 1 to ${hoursMax} hours`;
    for (const capability of capabilities) {
      const [namespace = ""] = capability.split(":");
      if (!config.namespaces.includes(namespace)) return `${namespace} is none of the namespaces of agent ${agent}`;
      if (!config.requestable.some((allowed) => isWithin(allowed, capability))) {
        return `${capability} is not within what /etc/aios/agents/${agent}.toml lists as requestable`;
      }
    }
    return "";
  };
  return {
    async request(agent, capabilities, reason, hours) {
      const denial = denialOf(agent, capabilities, reason, hours);
      if (denial !== "") return { denial };
      return { expiresAt: await grant(agent, capabilities, reason, (hours || hoursDefault) * 3_600) };
    },
    revoke,
  };
}
