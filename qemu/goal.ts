import { setTimeout as delay } from "node:timers/promises";
import { AiosError, messageOf } from "#lib/errors";
import type { Task } from "#proto/aios/common";
import { type GoalStatusResponse, OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import type { Machine } from "./machine.ts";

/** A task of a goal, as it is shown. */
interface TaskTrace {
  readonly id: string;
  readonly description: string;
  readonly agent: string;
  readonly tool: string;
  readonly status: string;
  readonly durationMs: number;
  readonly error: string;
}

/** A file that a goal's tasks wrote, read back from the machine. */
interface WrittenFile {
  readonly path: string;
  readonly content: string;
}

/** What became of a goal. */
export interface GoalOutcome {
  readonly id: string;
  readonly description: string;
  readonly status: string;
  readonly result: string;
  readonly tasks: readonly TaskTrace[];
  readonly files: readonly WrittenFile[];
  readonly ledger: LedgerReport;
}

/** What sec.verify_ledger found. */
interface LedgerReport {
  readonly valid: boolean;
  readonly entries: number;
  readonly head: string;
  readonly problems: readonly string[];
}

const finished: readonly string[] = ["completed", "failed", "cancelled"];

/** Submits a goal as the operator. Resolves with its id once the machine has it durably. */
export async function submitGoal(machine: Machine, description: string): Promise<string> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const request = {
      description,
      priority: 2,
      source: "",
      tags: [],
      metadataJson: Buffer.alloc(0),
      dependsOn: [],
      dedupeKey: "",
    };
    return (await orchestrator.submitGoal(request, { timeoutMs: 30_000 })).id;
  } finally {
    orchestrator.close();
  }
}

/** Follows a goal to its end, telling `onChange` of each task that changes. Throws DEADLINE_EXCEEDED when it does not end. */
export async function followGoal(
  machine: Machine,
  id: string,
  timeoutMs: number,
  onChange: (task: TaskTrace) => void = () => {},
  pollMs = 200,
): Promise<GoalStatusResponse> {
  const orchestrator = machine.client(OrchestratorService);
  const deadline = performance.now() + timeoutMs;
  const seen = new Map<string, string>();
  try {
    for (;;) {
      const status = await orchestrator.getGoalStatus({ id }, { timeoutMs: 30_000 });
      for (const task of status.tasks) {
        if (seen.get(task.id) !== task.status) onChange(traceOf(task));
        seen.set(task.id, task.status);
      }
      if (finished.includes(status.goal?.status ?? "")) return status;
      if (performance.now() > deadline) {
        const where = `${status.goal?.status}, ${status.progressPercent.toFixed(0)} % done`;
        throw new AiosError("DEADLINE_EXCEEDED", `follow goal ${id}: not finished within ${timeoutMs} ms (${where})`);
      }
      await delay(pollMs);
    }
  } finally {
    orchestrator.close();
  }
}

/** All that is worth showing of a goal that has ended: its trace, the files it wrote, the state of the ledger. */
export async function goalOutcome(machine: Machine, { goal, tasks }: GoalStatusResponse): Promise<GoalOutcome> {
  const files: WrittenFile[] = [];
  for (const task of tasks) {
    const path = task.status === "completed" ? writtenPath(task) : undefined;
    if (path !== undefined) files.push({ path, content: await readBack(machine, path) });
  }
  return {
    id: goal?.id ?? "",
    description: goal?.description ?? "",
    status: goal?.status ?? "unknown",
    result: goal?.result ?? "",
    tasks: tasks.map(traceOf),
    files,
    ledger: await verifyLedger(machine),
  };
}

/** Executes a tool over port 9090. Throws FAILED_PRECONDITION with the tool's reason when it fails. */
export async function executeTool(
  machine: Machine,
  toolName: string,
  input: unknown,
  reason: string,
): Promise<unknown> {
  const tools = machine.client(ToolRegistryService);
  try {
    const inputJson = Buffer.from(JSON.stringify(input));
    const request = { toolName, agentId: "", taskId: "", inputJson, reason };
    const { success, outputJson, error } = await tools.execute(request, { timeoutMs: 60_000 });
    if (!success) throw new AiosError("FAILED_PRECONDITION", `execute ${toolName}: ${error}`);
    return JSON.parse(Buffer.from(outputJson).toString());
  } finally {
    tools.close();
  }
}

export async function verifyLedger(machine: Machine): Promise<LedgerReport> {
  return (await executeTool(machine, "sec.verify_ledger", {}, "the host checks the ledger")) as LedgerReport;
}

async function readBack(machine: Machine, path: string): Promise<string> {
  try {
    const { content } = (await executeTool(machine, "fs.read", { path }, "the host reads the result back")) as {
      content: string;
    };
    return content;
  } catch (error) {
    return `(not read back: ${messageOf(error)})`;
  }
}

interface TaskInput {
  readonly tool?: string;
  readonly arguments?: { readonly path?: unknown };
}

function inputOf(task: Task): TaskInput {
  try {
    return JSON.parse(Buffer.from(task.inputJson).toString()) as TaskInput;
  } catch {
    return {};
  }
}

function writtenPath(task: Task): string | undefined {
  const { tool, arguments: given } = inputOf(task);
  return tool === "fs.write" && typeof given?.path === "string" ? given.path : undefined;
}

function traceOf(task: Task): TaskTrace {
  const { id, description, assignedAgent: agent, status, startedAt, completedAt, error } = task;
  const tool = inputOf(task).tool ?? task.requiredTools.join(", ");
  const durationMs = completedAt > 0 && startedAt > 0 ? completedAt - startedAt : 0;
  return { id, description, agent, tool, status, durationMs, error };
}

/** A goal's outcome as text: what `npm run up -- --goal` prints. */
export function showGoal({ id, description, status, result, tasks, files, ledger }: GoalOutcome): string {
  const trace = tasks.map(
    (task, index) =>
      `  ${index + 1}. ${task.status.padEnd(9)} ${task.agent.padEnd(8)} ${task.tool.padEnd(14)} ${String(task.durationMs).padStart(5)} ms  ${task.description}` +
      (task.error === "" ? "" : `\n     ${task.error}`),
  );
  const contents = files.flatMap(({ path, content }) => [
    "",
    `${path}:`,
    ...content
      .trimEnd()
      .split("\n")
      .map((line) => `  ${line}`),
  ]);
  const state = ledger.valid ? "verified" : `NOT VALID: ${ledger.problems.join("; ")}`;
  return [
    `goal ${id}: ${description}`,
    `${status}${result === "" ? "" : `: ${result}`}`,
    ...trace,
    ...contents,
    "",
    `ledger ${state}, ${ledger.entries} entries, head ${ledger.head.slice(0, 16)}`,
  ].join("\n");
}
