/**
 * Each agent has a control group below the orchestrator's. cgroup v2 limits only groups below one that has no processes
 * itself. So init puts a unit that makes groups (`makesGroups` in the manifest) into a leaf, and tells it the folder:
 * `orchestrator/_own` beside `orchestrator/monitor` and the others. The unit's limits hold for all together, and all
 * end with it. The orchestrator moves an agent when it has started it, in Node's thread pool, as init moves units:
 * setpriv and Node do not fork before it is done. Under TCG the eight groups are made in 7 to 25 ms and the eight moves
 * take 60 to 200 ms beside the loop; eight shells that join first would take 100 to 350 ms of the boot. Where the
 * kernel keeps no such limits (the native lane on a host that uses version 1) the orchestrator says so once.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Group, openGroups } from "#lib/linux/cgroups";
import type { Log } from "#lib/log";
import type { AgentConfig } from "./agent-config.ts";

/** The control group of an agent: the same over its restarts, so that what holds it back goes on holding it. */
export type GroupOf = (agent: string) => Group;

/** Controllers that limit agents. Not io: agents write nowhere but to memory, and read what the image holds. */
const controllers = ["cpu", "memory", "pids"];

/**
 * Groups of the agents below `folder`, the orchestrator's own (undefined where init has none), each made when first asked
 * for. Best effort: what the kernel does not limit is said once.
 */
export function agentGroups(
  folder: string | undefined,
  configs: readonly AgentConfig[],
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): GroupOf {
  const groups = openGroups(folder, "/proc", clock);
  const lacking = controllers.filter((controller) => groups.lacking.includes(controller));
  if (lacking.length > 0) log.warn("agents run without limits that the kernel does not keep here", { lacking });
  const opened = new Map<string, Group>();
  return (agent) => {
    const group = opened.get(agent) ?? groups.open(agent, limitsOf(agent, configs));
    opened.set(agent, group);
    return group;
  };
}

function limitsOf(agent: string, configs: readonly AgentConfig[]): AgentConfig["limits"] {
  const config = configs.find(({ name }) => name === agent);
  if (config !== undefined) return config.limits;
  throw new AiosError("NOT_FOUND", {
    act: "open the control group of",
    object: `agent ${agent}`,
    reason: "it is not configured on this machine",
    next: "see /etc/aios/agents",
  });
}
