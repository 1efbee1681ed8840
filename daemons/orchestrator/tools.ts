import type { JsonObject } from "./goal.ts";

export interface FieldSchema {
  readonly type?: unknown;
  readonly description?: string;
  readonly [keyword: string]: unknown;
}

/** The part of a tool's JSON Schema that plans are checked against. */
export interface InputSchema {
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly additionalProperties?: unknown;
}

/** What the orchestrator needs to know of a tool. */
export interface ToolFacts {
  readonly name: string;
  /** One sentence, for models and people. */
  readonly summary: string;
  /** Templates such as `fs:write:{path}`, where {path} is a field of the input. */
  readonly capabilities: readonly string[];
  readonly input: InputSchema;
  /** Names of the fields of what it gives. */
  readonly outputs: readonly string[];
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

/** A call of a tool, as the ledger has it. */
export interface Execution {
  readonly id: string;
  readonly state: "waiting" | "open" | "done" | "failed" | "refused";
  readonly error: string;
  /** Milliseconds; undefined while it is open. */
  readonly durationMs: number | undefined;
}

/** The tool registry, as the orchestrator uses it. Calls throw UNAVAILABLE while it is away. */
export interface Tools {
  /** A tool by its name; undefined when there is none. */
  find(name: string): Promise<ToolFacts | undefined>;
  /** All tools there are. */
  list(): Promise<readonly ToolFacts[]>;
  /** Lets an agent do what these capabilities say, for a task. `ask`: a person is asked about what changes something. */
  grant(
    agent: string,
    capabilities: readonly string[],
    taskId: string,
    durationMs: number,
    ask?: boolean,
  ): Promise<void>;
  /** Ends what an agent was granted for a task. */
  revoke(agent: string, taskId: string): Promise<void>;
  /** Ends all that an agent was granted. */
  revokeAll(agent: string): Promise<void>;
  /** What became of the tool call of a task, as the ledger has it. */
  trace(taskId: string, agent: string, tool: string, since: number): Promise<Trace>;
  /** The calls made for a task, oldest first. */
  executions(taskId: string, agent: string, tool: string, since: number): Promise<readonly Execution[]>;
}
