/** For tests: means of the calls beside those of goals, agents and tasks, kept in this process. */
import type { Clock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { InferenceResponse } from "#proto/aios/common";
import type { AgentConfig } from "../agents/agent-config.ts";
import { openUsageLimits } from "../agents/usage-limits.ts";
import type { Durable } from "../durable.ts";
import type { Goals } from "../goals/goals.ts";
import { type AutonomyRecord, openAutonomy } from "../initiative/autonomy.ts";
import { openCapabilityRequests } from "../initiative/capability-requests.ts";
import { loadCron } from "../initiative/cron.ts";
import type { Further } from "../initiative/initiative.ts";
import { openNodes } from "../initiative/nodes.ts";
import { openRegistry } from "../initiative/registry.ts";
import { openSchedules } from "../initiative/schedules.ts";

/** A durable value that is not. */
export function durableTwin<T>(value: T): Durable<T> {
  const box = {
    value,
    set(next: T) {
      box.value = next;
    },
    setAnyway(next: T) {
      box.value = next;
      return undefined;
    },
  };
  return box;
}

export function furtherTwin(goals: Goals, agents: readonly AgentConfig[], clock: Clock): Further {
  const record = durableTwin<AutonomyRecord>({ level: "" });
  const autonomy = openAutonomy({
    ...{ record, note: { read: () => undefined, write: () => {} }, configured: "full", goals, clock, log: silentLog },
    freezeAgents: () => {},
    hold: async () => {},
  });
  return {
    autonomy,
    usage: openUsageLimits({ clock, exceeded: () => {} }),
    schedules: openSchedules({
      record: durableTwin([]),
      clock,
      log: silentLog,
      loadCron,
      submit: async () => "goal",
      told: () => {},
    }),
    nodes: openNodes(clock),
    registry: openRegistry(durableTwin([]), clock),
    capabilities: openCapabilityRequests({
      ...{ agents, autonomy },
      grant: async (_agent, _capabilities, _reason, seconds) => clock.now() + seconds * 1_000,
      revoke: async () => 1,
    }),
    infer: async ({ prompt }, asker) => InferenceResponse.fromPartial({ text: `${asker} asked ${prompt}` }),
  };
}
