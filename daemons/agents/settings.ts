import { AiosError, messageOf } from "#lib/errors";

/** How an agent is to behave, as the orchestrator hands it over in AIOS_AGENT_SETTINGS. */
export interface Settings {
  readonly name: string;
  readonly type: string;
  readonly namespaces: readonly string[];
  readonly concurrentTasksMax: number;
  readonly heartbeatIntervalMs: number;
}

/** The settings in `json` for the agent `name`. Throws INVALID_ARGUMENT when the program was not started by the orchestrator. */
export function readSettings(name: string | undefined, json: string | undefined): Settings {
  try {
    if (name === undefined || json === undefined) throw new Error("AIOS_AGENT and AIOS_AGENT_SETTINGS are not set");
    return { ...(JSON.parse(json) as Omit<Settings, "name">), name };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "start",
      object: `agent ${name ?? ""}`,
      reason: messageOf(error),
      next: "the orchestrator starts agents; see /etc/aios/agents",
    });
  }
}
