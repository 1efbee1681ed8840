import type { Clock } from "#lib/clock";
import { AiosError, type Code, messageOf } from "#lib/errors";

/** A task as an agent sees it: one tool call. */
export interface Task {
  readonly id: string;
  readonly description: string;
  /** JSON text: {"tool": "fs.write", "arguments": {…}}, and its "execution_id". */
  readonly input: string;
}

export interface Result {
  readonly taskId: string;
  readonly success: boolean;
  /** JSON of the tool's output. */
  readonly output: Buffer;
  readonly error: string;
  /** Of a failure; empty when it has none. The orchestrator sees by it whether another try can help. */
  readonly errorCode: Code | "";
  readonly durationMs: number;
}

interface ToolCall {
  readonly tool: string;
  readonly input: Buffer;
  readonly taskId: string;
  readonly reason: string;
  /** The execution's id, chosen by whoever decided the call. None of what a duty does: nobody asks for it again. */
  readonly executionId?: string;
  /** Called when it waits for a person, with the approval's id. */
  readonly waits?: (approval: string) => void;
}

/** A call of a tool, as the registry answers it, within a time or (infinite) until it is stopped. Throws when it is refused or the registry is away. */
export type CallTool = (
  call: ToolCall,
  timeoutMs: number,
  signal: AbortSignal,
) => Promise<Pick<Result, "success" | "output" | "error" | "errorCode">>;

/** The tasks of an agent, done and under way. */
export interface Work {
  /** Runs a task to its result; it never throws. Two tasks of one id do not run at the same time. */
  run(task: Task): Promise<Result>;
  /** Stops a task. False when it is not running. */
  cancel(taskId: string, reason: string): boolean;
  running(): readonly string[];
  /** Resolves when a task's call waits for a person, or has ended: until then it takes a place of the agent's. */
  placeFree(taskId: string): Promise<void>;
  readonly completed: number;
  readonly failed: number;
}

/**
 * The work of one agent: tool calls, each with a way to stop it. How long one may take is its tool's to say and the orchestrator's
 * to keep. `waits` is told of a task whose call waits for
 * a person, with the approval's id.
 */
export function openWork(
  callTool: CallTool,
  clock: Clock,
  waits: (taskId: string, approval: string) => void = () => {},
): Work {
  const running = new Map<string, { readonly stop: AbortController; readonly free: PromiseWithResolvers<void> }>();
  const counts = { completed: 0, failed: 0 };

  const attempt = async (task: Task, stop: AbortSignal): Promise<Omit<Result, "taskId" | "durationMs">> => {
    try {
      const { id: taskId, description: reason } = task;
      const call = { ...readInput(task.input), taskId, reason, waits: (approval: string) => waiting(taskId, approval) };
      return await callTool(call, Number.POSITIVE_INFINITY, stop);
    } catch (error) {
      return failureOf(stop.aborted ? stop.reason : error);
    }
  };

  const waiting = (taskId: string, approval: string) => {
    running.get(taskId)?.free.resolve();
    waits(taskId, approval);
  };

  return {
    async run(task) {
      if (running.has(task.id)) return { ...failureOf(atItAlready), taskId: task.id, durationMs: 0 };
      const stop = new AbortController();
      const free = Promise.withResolvers<void>();
      running.set(task.id, { stop, free });
      const started = clock.monotonic();
      const result = await attempt(task, stop.signal);
      running.delete(task.id);
      free.resolve();
      counts[result.success ? "completed" : "failed"] += 1;
      return { ...result, taskId: task.id, durationMs: Math.round(clock.monotonic() - started) };
    },
    cancel(taskId, reason) {
      const stop = running.get(taskId)?.stop;
      stop?.abort(new AiosError("CANCELLED", reason));
      return stop !== undefined;
    },
    running: () => [...running.keys()],
    placeFree: async (taskId) => running.get(taskId)?.free.promise,
    get completed() {
      return counts.completed;
    },
    get failed() {
      return counts.failed;
    },
  };
}

function readInput(text: string): Pick<Required<ToolCall>, "tool" | "input" | "executionId"> {
  const value = JSON.parse(text) as { tool?: unknown; arguments?: unknown; execution_id?: unknown };
  if (typeof value.tool !== "string") throw new AiosError("INVALID_ARGUMENT", "run task: its input names no tool");
  const { execution_id: executionId } = value;
  if (typeof executionId !== "string")
    throw new AiosError("INVALID_ARGUMENT", "run task: its input has no execution_id");
  return { tool: value.tool, input: Buffer.from(JSON.stringify(value.arguments ?? {})), executionId };
}

const atItAlready = new AiosError("ABORTED", "this agent is at it already");

/** The result of a task that throws. An error without a code has the task's input as its cause. */
function failureOf(error: unknown): Pick<Result, "success" | "output" | "error" | "errorCode"> {
  const errorCode = error instanceof AiosError ? error.code : "INVALID_ARGUMENT";
  return { success: false, output: Buffer.alloc(0), error: messageOf(error), errorCode };
}
