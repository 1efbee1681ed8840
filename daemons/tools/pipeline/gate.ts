import { type Capability, capabilityText, fillTemplate, parseCapability } from "#lib/capability";
import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { allows, type Role } from "#lib/identity/role";
import type { Identity } from "#lib/rpc/service";
import type { Asking, Grants, Place, Protection, Registry } from "../access/index.ts";
import { resolveEntry, resolvePath } from "../files/index.ts";
import { resolveHost, resolveUrl } from "../names.ts";
import type { Reserve } from "../state/index.ts";
import { type AnyCall, asCalled, type ResourceKind, type ResourceKinds, type Risk, type Tool } from "../tool.ts";
import type { Json, Validation } from "./validation.ts";

/** A call as it came in. */
export interface Request {
  readonly tool: string;
  /** Empty, or for agents their own name; from core daemons and operators a remark for the ledger. */
  readonly agentId: string;
  readonly taskId: string;
  readonly inputJson: Uint8Array;
  readonly reason: string;
  /** The caller's own id for it: it is begun at most once. */
  readonly executionId?: string | undefined;
  /** It is not to be begun any more. */
  readonly withdraw?: boolean | undefined;
  /** Called when the call waits for a person, with the approval's id. */
  readonly waits?: ((approval: string) => void) | undefined;
}

/** A call that passed the gate. */
export interface Admitted {
  /** As this call is: {@link asCalled}. */
  readonly tool: Tool;
  readonly caller: Identity;
  readonly input: Json;
  readonly resources: Readonly<Record<string, ResourceKinds[ResourceKind]>>;
  /** Whether the caller may do what turns out to be needed beside. */
  readonly permits: (capability: string) => boolean;
  /** The capabilities it needs, resources resolved. */
  readonly needs: readonly string[];
  /** What it holds while it changes things. */
  readonly locks: readonly string[];
  /** Its grants were given on condition that a person is asked. */
  readonly asks: Asking;
  /** Protected places that it changes: an admin is asked first. */
  readonly places: readonly Place[];
  /** Of this call: the tool's, or critical where the call amounts to root. */
  readonly risk: Risk;
  /** The least role of a person who may make this call, approve it, or take it back. */
  readonly role: Role;
}

export interface Gate {
  /** identify → find → validate input → resolve → capabilities → room. Throws what the caller is told. */
  admit(request: Request, caller: Identity): Promise<Admitted>;
}

interface GateParts {
  readonly registry: Registry;
  readonly validation: Validation;
  readonly grants: Grants;
  readonly protection: Protection;
  readonly reserve: Pick<Reserve, "full" | "admit">;
}

/** How long a tool may look whether a call amounts to root. */
const lookTimeoutMs = 5_000;

/** Characters that the words of a request have at most. */
const lengthMax = { tool: 128, agentId: 64, taskId: 128, reason: 1024 } as const;

export function openGate({ registry, validation, grants, protection, reserve }: GateParts): Gate {
  return {
    admit: async (request, caller) => {
      identify(request, caller);
      const known = registry.find(request.tool);
      permitKind(known, caller);
      permitForeign(known, caller, grants, request.taskId);
      const input = await validation.input(known, request.inputJson);
      const tool = asCalled(known, input, reserve.full());
      permitRole(tool, caller, tool.role, false);
      const resources = await resolve(tool, input);
      const needs = tool.capabilities.map((template) =>
        fillTemplate(template, (field) => named(field, input, resources)),
      );
      const permitted = (needed: Capability) =>
        caller.kind !== "agent" || grants.permits(caller.name, needed, request.taskId);
      permitNeeds(
        tool,
        caller,
        needs.filter((needed) => !permitted(needed)),
        resources,
      );
      const places = await placesOf(protection, tool, resources, caller);
      const permits = (capability: string) => permitted(parseCapability(capability));
      const locks = locksOf(tool, resources);
      const asks = caller.kind === "agent" ? grants.asks(caller.name, request.taskId) : "nothing";
      // Only for a tool that looks: its signal is a timer, which stays for as long as the look may take.
      const view = () => viewOf(request, tool, caller, input, resources, permits);
      const root = (await tool.rootWhen?.holds(view(), asks !== "nothing")) === true;
      const critical = root || places.length > 0;
      const [risk, role] = critical
        ? (["critical", "admin"] as const)
        : ([tool.riskOf?.(input) ?? tool.risk, tool.role] as const);
      permitRole(tool, caller, role, root);
      reserve.admit(tool, caller);
      const needed = needs.map(capabilityText);
      return { tool, caller, input, resources, permits, needs: needed, locks, asks, places, risk, role };
    },
  };
}

/** The socket says who calls; a message that says otherwise is refused. */
export function identify(request: Request, caller: Identity): void {
  for (const [word, most] of Object.entries(lengthMax) as [keyof typeof lengthMax, number][]) {
    if (request[word].length > most) {
      throw new AiosError("INVALID_ARGUMENT", `execute: ${word} is longer than ${most} characters; shorten it`);
    }
  }
  if (caller.kind !== "agent" || request.agentId === "" || request.agentId === caller.name) return;
  throw new AiosError("PERMISSION_DENIED", {
    act: "execute",
    object: request.tool,
    reason: `agent_id says ${JSON.stringify(request.agentId)}, and this is the socket of ${caller.name}`,
    next: "leave agent_id empty",
  });
}

async function resolve(tool: Tool, input: Json): Promise<Admitted["resources"]> {
  const resolved = Object.entries(tool.resources)
    .filter(([field]) => input[field] !== undefined)
    .map(async ([field, kind]) => [field, await resolvers[kind](String(input[field]))] as const);
  return Object.fromEntries(await Promise.all(resolved));
}

/** How each kind of resource is resolved. */
const resolvers: { readonly [Kind in ResourceKind]: (value: string) => Promise<ResourceKinds[Kind]> } = {
  path: resolvePath,
  entry: resolveEntry,
  host: async (given) => resolveHost(given),
  url: async (given) => resolveUrl(given),
};

function named(field: string, input: Json, resources: Admitted["resources"]): string {
  const resource = resources[field];
  return resource === undefined ? String(input[field] ?? "") : wordOf(resource);
}

/** The text that is compared with grants. */
const wordOf = (resource: ResourceKinds[ResourceKind]) => ("path" in resource ? resource.path : resource.name);

const paths = (resources: Admitted["resources"]) =>
  Object.values(resources).flatMap((resource) => ("path" in resource ? [resource.path] : []));

/** The protected places that a call changes. Throws PERMISSION_DENIED where it may not, or may not even look. */
async function placesOf(
  protection: Protection,
  { effect, uses }: Tool,
  resources: Admitted["resources"],
  caller: Identity,
): Promise<readonly Place[]> {
  const places = new Set<Place>();
  for (const [field, resource] of Object.entries(resources)) {
    if (!("path" in resource)) continue;
    const access = effect === "read" ? "read" : (uses[field] ?? "change");
    for (const place of protection.check(resource.path, access, caller)) places.add(place);
    for (const place of await protection.checkFile(resource.path, access, caller)) places.add(place);
  }
  return [...places];
}

function locksOf({ effect, exclusive }: Tool, resources: Admitted["resources"]): string[] {
  if (effect === "read") return [];
  const locks = paths(resources).map((path) => `path ${path}`);
  return [...new Set(exclusive === undefined ? locks : [...locks, `all ${exclusive}`])].sort();
}

/** Of the daemons, the orchestrator calls tools for its tasks, and init looks at the ledger; the console calls for people only. */
function permitDaemon(tool: Tool, { name }: Identity): void {
  if (name === "orchestrator" || (name === "init" && tool.effect === "read")) return;
  throw denied(tool, `${name} has no business with it`, "of the daemons the orchestrator alone calls it");
}

function permitKind(tool: Tool, caller: Identity): void {
  if (caller.kind === "core") permitDaemon(tool, caller);
  if (tool.callers.includes(caller.kind)) return;
  throw denied(tool, `${caller.kind}s may not call it`, `it is for ${tool.callers.join(" and ")}`);
}

/** A custom tool's schema is not looked at for who holds no grant for the tool at all: checking by it may take long. */
function permitForeign(tool: Tool, caller: Identity, grants: Grants, taskId: string): void {
  if (tool.version === undefined || caller.kind !== "agent") return;
  const lacking = tool.capabilities.map(parseCapability).filter((needed) => !grants.knows(caller.name, needed, taskId));
  permitNeeds(tool, caller, lacking, {});
}

/** Of the people who call, each has a role; core daemons and agents have none, and are held by other means. */
function permitRole(tool: Tool, caller: Identity, least: Role, root: boolean): void {
  if (caller.kind !== "operator" || allows(caller.role, least)) return;
  const what = root && tool.rootWhen !== undefined ? ` ${tool.rootWhen.what}` : "";
  throw denied(
    tool,
    `${tool.name}${what} needs the role ${least}, and ${caller.name} is ${caller.role}`,
    "ask an admin",
  );
}

/** A call as a tool sees it that is only asked about it. */
function viewOf(
  { executionId = "" }: Request,
  { irreversible }: Tool,
  caller: Identity,
  input: Json,
  resources: Admitted["resources"],
  permits: (capability: string) => boolean,
): AnyCall {
  const signal = timeoutSignal(lookTimeoutMs);
  const forGood = irreversible !== undefined;
  return { executionId, caller, input, resources, permits, signal, forGood } as unknown as AnyCall;
}

function permitNeeds(
  tool: Tool,
  { name: agent }: Identity,
  [lacking]: readonly Capability[],
  resources: Admitted["resources"],
): void {
  if (lacking === undefined) return;
  // Where a link leads is not told to who may not follow it.
  const led = Object.values(resources).find((resource) => "path" in resource && resource.given !== resource.path);
  const reason =
    led === undefined
      ? `${agent} holds no grant of ${capabilityText(lacking)}`
      : `${agent} holds no grant for where ${JSON.stringify(led.given)} really leads`;
  throw denied(tool, reason, "the orchestrator grants what a task needs");
}

function denied(tool: Tool, reason: string, next: string): AiosError {
  return new AiosError("PERMISSION_DENIED", { act: "execute", object: tool.name, reason, next });
}
