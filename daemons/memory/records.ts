/**
 * A goal in the working store. Times are milliseconds since the epoch, 0 = not yet; `…Json` is JSON in UTF-8, empty =
 * none. So in all records below.
 */
export interface Goal {
  readonly id: string;
  readonly description: string;
  readonly status: string;
  readonly priority: number;
  readonly createdAt: number;
  readonly completedAt: number;
  readonly result: string;
  readonly metadataJson: Buffer;
}

export interface Task {
  readonly id: string;
  readonly goalId: string;
  readonly description: string;
  readonly agent: string;
  readonly status: string;
  readonly inputJson: Buffer;
  readonly outputJson: Buffer;
  readonly startedAt: number;
  readonly completedAt: number;
  readonly durationMs: number;
  readonly error: string;
}

export interface ToolCall {
  readonly id: string;
  readonly taskId: string;
  readonly toolName: string;
  readonly agent: string;
  readonly inputJson: Buffer;
  readonly outputJson: Buffer;
  readonly success: boolean;
  readonly durationMs: number;
  readonly reason: string;
  readonly timestamp: number;
}

export interface Decision {
  readonly id: string;
  readonly context: string;
  readonly optionsJson: Buffer;
  readonly chosen: string;
  readonly reasoning: string;
  readonly intelligenceLevel: string;
  readonly modelUsed: string;
  readonly outcome: string;
  readonly timestamp: number;
}

export interface AgentState {
  readonly agentName: string;
  readonly stateJson: Buffer;
  readonly updatedAt: number;
}

export interface Event {
  readonly id: string;
  readonly timestamp: number;
  readonly category: string;
  readonly source: string;
  readonly dataJson: Buffer;
  /** Kept in the working store too, and so over a restart. */
  readonly critical: boolean;
}

export interface Pattern {
  readonly id: string;
  readonly trigger: string;
  readonly action: string;
  /** 0 to 1: of its uses. */
  readonly successRate: number;
  readonly uses: number;
  readonly lastUsed: number;
  readonly createdFrom: string;
}

export interface Procedure {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly stepsJson: Buffer;
  readonly successCount: number;
  readonly failCount: number;
  readonly avgDurationMs: number;
  readonly tags: readonly string[];
  readonly createdAt: number;
  readonly lastUsed: number;
}

export interface Incident {
  readonly id: string;
  readonly description: string;
  readonly symptomsJson: Buffer;
  readonly rootCause: string;
  readonly resolution: string;
  readonly resolvedBy: string;
  readonly prevention: string;
  readonly timestamp: number;
}

export interface ConfigChange {
  readonly id: string;
  readonly filePath: string;
  readonly content: string;
  readonly changedBy: string;
  readonly reason: string;
  readonly timestamp: number;
}

/** A goal in one of these is over. */
export const finalStatuses: readonly string[] = ["completed", "failed", "cancelled"];

/** Bytes of records that one answer holds: below the 4 MiB that a gRPC message may have. */
export const answerBytesMax = 3_500_000;

/** Roughly what a record takes in an answer, bytes. */
export function sizeBytes(record: object): number {
  return Object.values(record).reduce<number>(
    (sum, value) =>
      sum + (typeof value === "string" ? Buffer.byteLength(value) : value instanceof Uint8Array ? value.length : 10),
    0,
  );
}
