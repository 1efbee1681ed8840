import type { Call, Fate } from "./calls.ts";

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

/** The facts of a tool that the orchestrator needs. */
export interface ToolFacts {
  readonly name: string;
  /** One sentence, for models and people. */
  readonly summary: string;
  /** Templates such as `fs:write:{path}`, where {path} is a field of the input. */
  readonly capabilities: readonly string[];
  readonly input: InputSchema;
  /** Names of the fields of what it gives. */
  readonly outputs: readonly string[];
  /** It is of high risk and cannot be taken back. */
  readonly grave?: boolean;
  /** Doing it twice is as doing it once. */
  readonly idempotent: boolean;
  readonly timeoutMs: number;
}

/** A call of a tool, as the ledger has it. */
export interface Execution {
  readonly id: string;
  readonly state: "waiting" | "open" | "done" | "failed" | "interrupted" | "refused";
  readonly error: string;
  /** Milliseconds; undefined while it is open. */
  readonly durationMs: number | undefined;
  /** Whether its changes can be taken back. */
  readonly reversible: boolean;
}

/** The tool registry, as the orchestrator uses it. Calls throw UNAVAILABLE while it is away. */
export interface Tools {
  /** A tool by its name; undefined when there is none. */
  find(name: string): Promise<ToolFacts | undefined>;
  /** All tools there are. */
  list(): Promise<readonly ToolFacts[]>;
  /** Lets an agent do what a grant says. */
  grant(grant: Grant): Promise<void>;
  /** Ends what an agent was granted for a task. `id`: of the call, the same each time that it is asked for. */
  revoke(id: string, agent: string, taskId: string): Promise<void>;
  /** Ends all that an agent was granted. */
  revokeAll(id: string, agent: string): Promise<void>;
  /** Sees to it that a call does not begin any more, unless it has. Throws UNAVAILABLE while that cannot be told. */
  withdraw(call: Call): Promise<Fate>;
  /** Looks up calls in the ledger, by their ids, in that order. */
  executions(ids: readonly string[], taskId: string): Promise<readonly Execution[]>;
}

/** Nothing; what changes something or leaves the machine; everything. */
export type Asking = "nothing" | "root" | "changes" | "everything";

/** Leave for an agent, for a task and a time. */
interface Grant {
  /** Id of the call that grants it: the same each time that it is asked for. */
  readonly id: string;
  readonly agent: string;
  readonly capabilities: readonly string[];
  readonly taskId: string;
  readonly durationMs: number;
  /** The calls that a person is asked about. */
  readonly ask: Asking;
}
