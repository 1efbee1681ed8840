/**
 * A call can be final. A tool that can be undone says of which input it cannot (`final`): such a call has no undo, is
 * critical and an admin's; of an agent's an admin is asked at every level.
 */
import type { Static, TObject, TSchema } from "typebox";
import { parseCapability } from "#lib/capability";
import type { Role } from "#lib/identity/role";
import type { Identity } from "#lib/rpc/service";
import type { Access, ResolvedPath } from "./files/index.ts";
import type { ResolvedName } from "./names.ts";
import type { Backups } from "./state/index.ts";

/** The things in the world that an input field can name, and what the pipeline makes of each before anything is compared. */
export interface ResourceKinds {
  /** A file or folder; a symbolic link stands for what it leads to. */
  readonly path: ResolvedPath;
  /** What stands at a name in a folder: a symbolic link stands for itself. */
  readonly entry: ResolvedPath;
  /** A host name or an IP address, not looked up. */
  readonly host: ResolvedName;
  readonly url: ResolvedName;
}

export type ResourceKind = keyof ResourceKinds;
export type Risk = "low" | "medium" | "high" | "critical";

type ResourceFields<Input> = { readonly [Field in keyof Input]?: ResourceKind };

/** The resolved resources of a call, by the input field that named them. */
type Resources<Fields> = {
  readonly [Field in keyof Fields]: Fields[Field] extends ResourceKind ? ResourceKinds[Fields[Field]] : never;
};

/** One call as a tool sees it: past the gate, its input checked, its resources resolved. */
export interface ToolCall<Input, Fields> {
  readonly executionId: string;
  readonly caller: Identity;
  readonly input: Input;
  readonly resources: Resources<Fields>;
  /**
   * Whether the caller may do what only turned out to be needed: one of the tool's `alsoNeeds`, its resource resolved.
   * Callers that need no grants always may.
   */
  permits(capability: string): boolean;
  /** Aborted when the caller goes away or the tool's time is over. */
  readonly signal: AbortSignal;
  /** It cannot be taken back: nothing was kept that would. */
  readonly forGood: boolean;
}

export interface UndoCall {
  readonly executionId: string;
  readonly backups: Backups;
  /** What was changed since is taken back too, and a copy of it kept: asked for by a person, of a rollback that was refused for it. */
  readonly force?: boolean;
}

/** How a change is taken back. A plan is JSON: it is persisted before the act and outlives the daemon. */
export interface Undo<Input, Fields, Plan> {
  /** `prepare` reads and does nothing else, so it need not wait for the intent to be on disk. */
  readonly preparesByReading?: true;
  /** What will be needed to take the change back. Runs before the act. */
  prepare(call: ToolCall<Input, Fields>, backups: Backups): Promise<Plan>;
  /** Takes the change back; does nothing where there is nothing to take back. Throws an AiosError that says what it could not restore. */
  restore(plan: Plan, call: UndoCall): Promise<void>;
  /** Clears away what an act that was interrupted left half done. Runs at the daemon's next start. */
  settle?(plan: Plan, call: UndoCall): Promise<void>;
  /** An act that fails in its middle is settled at once, too. */
  readonly settlesFailures?: true;
}

/** Calls after which the caller could do anything on the machine. */
interface RootCalls<Input, Fields> {
  /** Which calls, for people: "without a sandbox". */
  readonly what: string;
  /** Looks, and changes nothing. `bounded`: an agent calls for somebody who is no admin, or a person is asked anyway. */
  holds(call: ToolCall<Input, Fields>, bounded: boolean): boolean | Promise<boolean>;
}

interface SomeCalls<Input> {
  /** Which calls, for people. */
  readonly what: string;
  holds(input: Input): boolean;
}

/** The facts of both kinds of tool. Those that most have alike are said only where they differ. */
interface Facts<Input extends TObject, Output extends TSchema, Fields, Plan> {
  /** `namespace.verb`. */
  readonly name: `${string}.${string}`;
  /** One sentence, for models and people. */
  readonly summary: string;
  readonly input: Input;
  readonly output: Output;
  /** The input fields that name something in the world; resolved before capabilities are compared, and what the act uses. */
  readonly resources?: Fields;
  /** What an agent must have been granted, all of it: `namespace:action[:resource]`, where `{field}` is an input field, resolved. */
  readonly capabilities: readonly [`${string}:${string}`, ...`${string}:${string}`[]];
  /** What a call may need beside, depending on what it finds: asked for by `permits`. Nobody grants it by itself. */
  readonly alsoNeeds?: readonly `${string}:${string}`[];
  /** Who may call it at all; everybody unless said. Agents need its capabilities beside. */
  readonly callers?: readonly Identity["kind"][];
  /** The risk of one call, where that is another than the tool's. */
  riskOf?(input: Static<Input>): Risk;
  /**
   * The least role of a person who may call it. Unless said: admin for what is critical, operator for other changes and for reads
   * that name what they look at, reader for reads of the machine's own state.
   */
  readonly role?: Role;
  /** Its calls that amount to root, though it does not: they are critical, whatever its risk. */
  readonly rootWhen?: RootCalls<Static<Input>, Fields>;
  readonly timeoutMs: number;
  /** Whether a person is asked first; not unless said. */
  readonly confirmation?: boolean;
  /** Its calls that a person is asked about first, though not about all of them. */
  readonly confirmationWhen?: SomeCalls<Static<Input>>;
  /** What a call would change, for the person who is asked: for files a diff. Changes nothing. */
  preview?(call: ToolCall<Static<Input>, Fields>): Promise<string>;
  /** `plan` is what its undo has prepared; undefined when it cannot be taken back. */
  run(call: ToolCall<Static<Input>, Fields>, plan?: Plan): Promise<Static<Output>> | Static<Output>;
}

/** A tool that looks: it can be called again, and has nothing to take back. */
interface Reads<Input extends TObject, Output extends TSchema, Fields> extends Facts<Input, Output, Fields, never> {
  /** Low unless said. */
  readonly risk?: Risk;
  readonly undo?: never;
  readonly irreversible?: never;
}

interface ChangeFacts<Fields> {
  readonly risk: Risk;
  readonly idempotent: boolean;
  /** What it only looks at, or takes with all that lies in it, of its resources; it changes the others. */
  readonly uses?: { readonly [Field in keyof Fields]?: Exclude<Access, "change"> };
  /** Changes that share this word happen one at a time. */
  readonly exclusive?: string;
  /**
   * It is carried out while the disk is full too, as reads are: it makes room, ends what takes room, or lets such a call through.
   * "for good": then it keeps no copy that would take it back, since there is no room for one.
   */
  readonly whenFull?: "as ever" | "for good";
}

interface Reversible<Input, Fields, Plan> {
  readonly undo: Undo<Input, Fields, Plan>;
  readonly irreversible?: never;
  /** Why a call with this input, unlike others, cannot be taken back; undefined when it can. A person is asked about such a call. */
  final?(input: Input): string | undefined;
}

interface Irreversible {
  readonly undo?: never;
  /** Why it cannot be taken back. */
  readonly irreversible: string;
}

/** A tool that acts: one without `undo` or a reason for being irreversible does not compile. */
type Changes<Input extends TObject, Output extends TSchema, Fields, Plan> = Facts<Input, Output, Fields, Plan> &
  ChangeFacts<Fields> &
  (Reversible<Static<Input>, Fields, Plan> | Irreversible);

type Resolved = Readonly<Record<string, ResourceKind>>;

/** A tool as the pipeline handles it. The catalogue makes it by {@link reads} and {@link changes} only. */
export interface Tool
  extends Omit<
    Facts<TObject, TSchema, Resolved, unknown>,
    "run" | "preview" | "resources" | "callers" | "role" | "rootWhen" | "confirmation" | "confirmationWhen"
  > {
  readonly namespace: string;
  readonly effect: "read" | "change";
  readonly callers: readonly Identity["kind"][];
  readonly risk: Risk;
  readonly role: Role;
  readonly idempotent: boolean;
  readonly confirmation: boolean;
  readonly rootWhen?: RootCalls<AnyCall["input"], Resolved>;
  readonly confirmationWhen?: SomeCalls<unknown>;
  /** Of a custom tool; the others are of the image's. */
  readonly version?: string;
  readonly resources: Resolved;
  readonly uses: Readonly<Record<string, Access>>;
  readonly exclusive?: string;
  readonly whenFull?: "as ever" | "for good";
  readonly undo?: Undo<unknown, unknown, unknown>;
  readonly irreversible?: string;
  final?(input: unknown): string | undefined;
  run(call: AnyCall, plan?: unknown): Promise<unknown> | unknown;
  preview?(call: AnyCall): Promise<string>;
}

export type AnyCall = ToolCall<Readonly<Record<string, unknown>>, Resolved>;

/** A tool that looks, from its one description. The compiler checks `run` and `resources` against the schemas. */
export function reads<
  Input extends TObject,
  Output extends TSchema,
  const Fields extends ResourceFields<Static<Input>>,
>(spec: Reads<Input, Output, Fields>): Tool {
  return tool("read", { ...usualOfReads, ...spec });
}

/** A tool that acts, from its one description. The compiler checks `run`, `undo` and `resources` against the schemas. */
export function changes<
  Input extends TObject,
  Output extends TSchema,
  const Fields extends ResourceFields<Static<Input>>,
  Plan,
>(spec: Changes<Input, Output, Fields, Plan>): Tool {
  return tool("change", spec);
}

const usual = { callers: ["core", "operator", "agent"], confirmation: false, resources: {}, uses: {} } as const;
const usualOfReads = { risk: "low", idempotent: true } as const;

function tool(effect: Tool["effect"], spec: Pick<Tool, "name" | "risk" | "capabilities">): Tool {
  const namespace = spec.name.slice(0, spec.name.indexOf("."));
  // The schemas vouch for what the erased types no longer say.
  return { ...usual, role: leastRole({ ...spec, effect }), ...spec, effect, namespace } as unknown as Tool;
}

/** The least role of a person who may call a tool that does not say it. */
export function leastRole({ effect, risk, capabilities }: Pick<Tool, "effect" | "risk" | "capabilities">): Role {
  if (risk === "critical") return "admin";
  const names = capabilities.some((template) => parseCapability(template).resource !== undefined);
  return effect === "change" || names ? "operator" : "reader";
}

/**
 * A tool as a call with this input is, with the disk `full` or not: one that cannot be taken back, unlike others of
 * the tool, is critical, an admin's, asked first, and has no undo.
 */
export function asCalled(tool: Tool, input: unknown, full = false): Tool {
  const noRoom = full && tool.whenFull === "for good" ? "the disk is full, and has no room for a copy" : undefined;
  const irreversible = tool.final?.(input) ?? noRoom;
  if (irreversible === undefined) return tool.confirmationWhen?.holds(input) ? { ...tool, confirmation: true } : tool;
  const { undo: _, ...rest } = tool;
  return { ...rest, irreversible, risk: "critical", role: "admin", confirmation: true };
}
