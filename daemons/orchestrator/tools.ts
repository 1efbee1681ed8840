import type { JsonObject } from "./goal.ts";

/** The part of a tool's JSON Schema that plans are checked against. */
export interface InputSchema {
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, { readonly type?: unknown }>>;
  readonly additionalProperties?: unknown;
}

/** What the orchestrator needs to know of a tool. */
export interface ToolFacts {
  readonly name: string;
  /** Templates such as `fs:write:{path}`, where {path} is a field of the input. */
  readonly capabilities: readonly string[];
  readonly input: InputSchema;
  /** Doing it twice is as doing it once. */
  readonly idempotent: boolean;
  readonly timeoutMs: number;
}

/** What the ledger of tool calls knows of a task. */
export type Trace =
  | { readonly kind: "none" }
  /** `output` is undefined when it was too long to be kept in the ledger. */
  | { readonly kind: "done"; readonly output: JsonObject | undefined }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "open" };

/** The tool registry, as the orchestrator uses it. Calls throw UNAVAILABLE while it is away. */
export interface Tools {
  /** A tool by its name; undefined when there is none. */
  find(name: string): Promise<ToolFacts | undefined>;
  /** Lets an agent do what these capabilities say, for a task. */
  grant(agent: string, capabilities: readonly string[], taskId: string, durationMs: number): Promise<void>;
  /** Ends what an agent was granted for a task. */
  revoke(agent: string, taskId: string): Promise<void>;
  /** Ends all that an agent was granted. */
  revokeAll(agent: string): Promise<void>;
  /** What became of the tool call of a task, as the ledger has it. */
  trace(taskId: string, agent: string, tool: string, since: number): Promise<Trace>;
}
