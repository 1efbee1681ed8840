import * as Type from "typebox";
import { capabilityText, parseCapability } from "#lib/capability";
import { approvalMostMs } from "#lib/config/duration";
import { AiosError } from "#lib/errors";
import type { Asking, CapabilityTable, Grants } from "../../access/index.ts";
import { resolveHost, resolveUrl } from "../../names.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { agentName, object, timestamp } from "../shared/index.ts";

/** How long a grant lasts unless it says otherwise, and at most, seconds. */
const durationDefaultSeconds = 600;
/** As long as a person may be given to decide about a call, and a day for the call. */
const durationMaxSeconds = approvalMostMs / 1_000 + 86_400;

/** Stars in a granted resource at most: each costs time at every check. */
const starsMax = 16;

const reason = Type.String({ minLength: 1, maxLength: 1024, description: "why, for the ledger" });
const taskId = Type.Optional(Type.String({ maxLength: 128, description: "the task that it is for" }));
const capabilities = Type.Array(Type.String({ description: "namespace:action or namespace:action:resource glob" }), {
  minItems: 1,
  maxItems: 64,
});

export interface GrantWorld {
  readonly grants: Grants;
  /** The capabilities that exist, derived from the catalogue. */
  table(): CapabilityTable;
}

export const grantTools = (world: GrantWorld): readonly Tool[] => [
  grantTool(world),
  revokeTool(world),
  capabilitiesTool(world),
];

const grantTool = ({ grants, table }: GrantWorld) =>
  changes({
    name: "sec.grant",
    summary: "Grants capabilities to an agent for a while (ten minutes unless told otherwise).",
    input: object({
      agent_id: agentName,
      capabilities,
      reason,
      duration_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: durationMaxSeconds })),
      task_id: taskId,
      ask: Type.Optional(
        Type.Enum(["root", "changes", "everything"], {
          description:
            "a person is asked about each call of the task: those that amount to root, also what a package runs as root; those that change something or leave the machine; or all",
        }),
      ),
    }),
    output: object({ granted: Type.Array(Type.String()), expires_at: timestamp }),
    capabilities: ["sec:grant"],
    whenFull: "as ever",
    callers: ["core", "operator"],
    undo: {
      prepare: async () => ({}),
      restore: async (_, { executionId }) => grants.undoGrant(executionId),
    },
    risk: "critical",
    timeoutMs: 5_000,
    idempotent: false,
    run: async ({ executionId, input }) => {
      const granted = input.capabilities.map((text) => grantable(text, table()));
      const durationMs = (input.duration_seconds ?? durationDefaultSeconds) * 1000;
      const { agent_id: agent, reason, task_id: taskId = "" } = input;
      const asks: Asking = input.ask ?? "nothing";
      if (asks !== "nothing" && taskId === "") throw asksForNothing(agent);
      const request = { executionId, agent, reason, taskId, asks, capabilities: granted, durationMs };
      return { granted, expires_at: await grants.grant(request) };
    },
  });

const revokeTool = ({ grants, table }: GrantWorld) =>
  changes({
    name: "sec.revoke",
    summary: "Ends grants of an agent: those named, all of them (revoke_all), or those of one task (task_id).",
    input: object({
      agent_id: agentName,
      capabilities: Type.Optional(capabilities),
      revoke_all: Type.Optional(Type.Boolean()),
      task_id: taskId,
    }),
    output: object({ revoked_count: Type.Integer() }),
    capabilities: ["sec:grant"],
    whenFull: "as ever",
    callers: ["core", "operator"],
    undo: {
      prepare: async () => ({}),
      restore: async (_, { executionId }) => grants.undoRevoke(executionId),
    },
    risk: "medium",
    timeoutMs: 5_000,
    idempotent: true,
    run: async ({ executionId, input }) => {
      const { agent_id: agent, task_id: taskId = "", revoke_all: all = false } = input;
      if (input.capabilities === undefined && !all && taskId === "") throw nothingNamed(agent);
      const named = all ? undefined : input.capabilities?.map((text) => normalized(text, table()));
      return { revoked_count: await grants.revoke({ executionId, agent, taskId, capabilities: named }) };
    },
  });

const capabilitiesTool = ({ grants }: GrantWorld) =>
  reads({
    name: "sec.capabilities",
    summary: "Lists the grants that an agent holds now.",
    input: object({ agent_id: agentName }),
    output: object({
      capabilities: Type.Array(
        object({
          capability: Type.String(),
          reason: Type.String(),
          task_id: Type.String(),
          granted_at: timestamp,
          expires_at: timestamp,
        }),
      ),
    }),
    capabilities: ["sec:read"],
    timeoutMs: 5_000,
    run: ({ input }) => ({
      capabilities: grants.held(input.agent_id).map(({ capability, reason, taskId, grantedAt, expiresAt }) => ({
        capability,
        reason,
        task_id: taskId,
        granted_at: grantedAt,
        expires_at: expiresAt,
      })),
    }),
  });

/** A capability as it is granted: one that some tool needs, its resource said and spelled as resolved paths are. */
function grantable(text: string, table: CapabilityTable): string {
  const { namespace, action, resource } = parseCapability(text);
  const known = table.get(`${namespace}:${action}`);
  const refuse = (reason: string, next: string) =>
    new AiosError("INVALID_ARGUMENT", { act: "grant", object: JSON.stringify(text), reason, next });
  if (known === undefined) throw refuse("no tool needs it", `there are ${[...table.keys()].sort().join(", ")}`);
  if (known.hasResource && resource === undefined) {
    throw refuse("it says nothing of what for", `grant ${namespace}:${action}:/folder/**, or :/** for everything`);
  }
  if (!known.hasResource && resource !== undefined) throw refuse("it has no resource", `grant ${namespace}:${action}`);
  if ((resource?.match(/\*/g)?.length ?? 0) > starsMax)
    throw refuse(`it has more than ${starsMax} stars`, "grant a folder");
  if (resource?.split("/").includes("..")) throw refuse('a resource cannot hold ".."', "give the path it leads to");
  return normalized(text, table);
}

/** As resources are compared: paths without doubled slashes, "." parts and a slash at the end, hosts and URLs in their one spelling. */
function normalized(text: string, table: CapabilityTable): string {
  const { resource: given, ...fixed } = parseCapability(text);
  const name = `${fixed.namespace}:${fixed.action}`;
  // A git remote may be a web address or a folder.
  const isRemote = name === "git:remote";
  const resource = isRemote ? given?.replace(/^file:\/\/(?=\/)/, "") : given;
  const kind = isRemote && /^https?:\/\//.test(resource ?? "") ? "url" : table.get(name)?.kind;
  if (resource !== undefined && (kind === "host" || kind === "url") && !/(?<!\\)[*?]/.test(resource)) {
    const plain = resource.replaceAll(/\\(.)/g, "$1");
    const spelled = kind === "host" ? resolveHost(plain) : resolveUrl(plain);
    return capabilityText({ ...fixed, resource: spelled.name.replaceAll(/[\\*?]/g, "\\$&") });
  }
  if (!resource?.startsWith("/")) return text;
  const parts = resource.split("/").filter((part) => part !== "" && part !== ".");
  return capabilityText({ ...fixed, resource: `/${parts.join("/")}` });
}

function asksForNothing(agent: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "grant capabilities to",
    object: agent,
    reason: "a person is to be asked, and no task is named",
    next: "give task_id: calls are told apart by it",
  });
}

function nothingNamed(agent: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "revoke grants of",
    object: agent,
    reason: "it does not say which",
    next: "give capabilities, task_id or revoke_all",
  });
}
