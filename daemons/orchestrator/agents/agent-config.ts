/**
 * An agent has what its file says in `[resources]`, or else 256 MiB, 32 threads and one processor: less than the public
 * system's 2 GiB, 100 and two.
 */
import { readdirSync, readFileSync } from "node:fs";
import * as Type from "typebox";
import { parseToml } from "#lib/config/config";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import type { Limits } from "#lib/linux/cgroups";

const strict = { additionalProperties: false } as const;
const seconds = (maximum: number) => Type.Integer({ minimum: 1, maximum, description: `1 to ${maximum} seconds` });

const capabilityList = Type.Array(
  Type.String({ pattern: "^[a-z][a-z0-9_]*:[a-z_]+(:.+)?$", description: "a capability such as fs:read:/var/log/**" }),
  { maxItems: 32 },
);

/**
 * What an agent may use when its file does not say: it is one Node process with 18 MB of its own and some ten
 * threads, one of which runs JavaScript, and what it makes others do is limited there.
 */
const resourcesDefault = { memory_mb: 256, max_pids: 32, cpu_cores: 1 } as const;

/** `/etc/aios/agents/<name>.toml`. */
const agentSchema = Type.Object(
  {
    agent: Type.Object(
      {
        name: Type.String({
          pattern: "^[a-z][a-z0-9-]{0,31}$",
          description: "a name of lower-case letters and digits",
        }),
        type: Type.String({ minLength: 1, maxLength: 64 }),
        enabled: Type.Boolean(),
        description: Type.Object(
          {
            role: Type.String({ minLength: 1, maxLength: 500 }),
            brief: Type.String({ minLength: 1, maxLength: 2_000 }),
          },
          strict,
        ),
      },
      strict,
    ),
    capabilities: Type.Object(
      {
        tool_namespaces: Type.Array(
          Type.String({ pattern: "^[a-z][a-z0-9_]*$", description: "a namespace such as fs" }),
        ),
        standing: Type.Optional(capabilityList),
        requestable: Type.Optional(capabilityList),
      },
      strict,
    ),
    behavior: Type.Object(
      {
        max_concurrent_tasks: Type.Integer({ minimum: 1, maximum: 64, description: "1 to 64 tasks" }),
        heartbeat_interval_seconds: seconds(10),
      },
      strict,
    ),
    resources: Type.Optional(
      Type.Object(
        {
          memory_mb: Type.Optional(Type.Integer({ minimum: 64, maximum: 65_536, description: "64 to 65536 MB" })),
          max_pids: Type.Optional(
            Type.Integer({ minimum: 16, maximum: 4_096, description: "16 to 4096 processes and threads" }),
          ),
          cpu_cores: Type.Optional(
            Type.Number({ minimum: 0.1, maximum: 1_024, description: "0.1 to 1024 processors" }),
          ),
        },
        strict,
      ),
    ),
    restart: Type.Object(
      {
        max_restarts: Type.Integer({ minimum: 0, maximum: 1_000, description: "0 to 1000 restarts" }),
        restart_window_seconds: seconds(86_400),
        restart_delay_seconds: Type.Number({ minimum: 0.1, maximum: 60, description: "0.1 to 60 seconds" }),
      },
      strict,
    ),
  },
  strict,
);

/** One agent as it is configured. */
export interface AgentConfig {
  readonly name: string;
  readonly type: string;
  /** Its purpose, for people and for models that choose among agents. */
  readonly role: string;
  /** Instructions for its work, which it is given in a conversation. */
  readonly brief: string;
  readonly namespaces: readonly string[];
  /** Granted while it is on duty, for its periodic work. */
  readonly standing: readonly string[];
  /** Granted when it asks. */
  readonly requestable: readonly string[];
  readonly concurrentTasksMax: number;
  readonly heartbeatIntervalMs: number;
  /** Limits of all its processes together. */
  readonly limits: Required<Limits>;
  readonly restart: { readonly max: number; readonly windowMs: number; readonly delayMs: number };
}

/** The agent in `text` of the file `file`, or undefined when it is not enabled. Throws with file, line, key. */
export function parseAgent(text: string, file: string): AgentConfig | undefined {
  const { agent, capabilities, behavior, restart, ...parsed } = parseToml(agentSchema, text, file);
  const resources = { ...resourcesDefault, ...parsed.resources };
  if (`${agent.name}.toml` !== file.split("/").at(-1)) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: file,
      reason: `agent.name: ${JSON.stringify(agent.name)} is not the file's name`,
      next: "rename one of them",
    });
  }
  if (!agent.enabled) return undefined;
  return {
    name: agent.name,
    type: agent.type,
    ...agent.description,
    namespaces: capabilities.tool_namespaces,
    standing: capabilities.standing ?? [],
    requestable: capabilities.requestable ?? [],
    concurrentTasksMax: behavior.max_concurrent_tasks,
    heartbeatIntervalMs: behavior.heartbeat_interval_seconds * 1_000,
    limits: { memoryMiB: resources.memory_mb, pids: resources.max_pids, cpuCores: resources.cpu_cores },
    restart: {
      max: restart.max_restarts,
      windowMs: restart.restart_window_seconds * 1_000,
      delayMs: restart.restart_delay_seconds * 1_000,
    },
  };
}

/** The enabled agents of `folder`, and what is wrong with the files that cannot be used. */
export function readAgents(folder: string): { agents: AgentConfig[]; faults: string[] } {
  const agents: AgentConfig[] = [];
  const faults: string[] = [];
  for (const file of tomlFiles(folder, faults)) {
    try {
      const agent = parseAgent(readFileSync(`${folder}/${file}`, "utf8"), `${folder}/${file}`);
      if (agent !== undefined) agents.push(agent);
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  return { agents, faults };
}

function tomlFiles(folder: string, faults: string[]): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".toml"))
      .toSorted();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    faults.push(`read ${folder}: there is no such folder, and so no agent`);
    return [];
  }
}
