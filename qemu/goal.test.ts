import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, type ServiceDefinition, service } from "#lib/rpc/service";
import { Goal, Task } from "#proto/aios/common";
import { type GoalStatusResponse, OrchestratorService } from "#proto/aios/orchestrator";
import { type ExecuteRequest, ToolRegistryService } from "#proto/aios/tools";
import { followGoal, goalOutcome, showGoal, submitGoal } from "./goal.ts";
import type { Machine } from "./machine.ts";

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

/** A machine whose orchestrator answers `statuses` one after the other, and whose tools are a table. */
let folder: string;
let machine: Machine;
let statuses: GoalStatusResponse[];
let executed: ExecuteRequest[];
let ledger: unknown;
let close: () => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "aios-goal-"));
  executed = [];
  ledger = { valid: true, entries: 7, head: "abcdef0123456789ff", problems: [] };
  const orchestrator = service(OrchestratorService, {
    submitGoal: ({ description }) => ({ id: `id of ${description}` }),
    getGoalStatus: () => (statuses.length > 1 ? statuses.shift() : statuses[0]) as GoalStatusResponse,
  });
  const tools = service(ToolRegistryService, {
    execute: (request) => {
      executed.push(request);
      const known = new Map([
        ["fs.read", { content: "used 1 GB\n", size: 10 }],
        ["sec.verify_ledger", ledger],
      ]);
      const output = known.get(request.toolName);
      const answer = {
        executionId: "x",
        durationMs: 1,
        backupId: "",
        outputJson: bytes(output ?? null),
      };
      return { ...answer, success: output !== undefined, error: output === undefined ? "no such tool" : "" };
    },
  });
  const server = createServer([orchestrator, tools], () => coreIdentity("orchestrator"), silentLog);
  const path = join(folder, "machine.sock");
  await listen(server, { path, identity: coreIdentity("orchestrator"), mode: 0o600 });
  machine = { client: <S extends ServiceDefinition>(of: S) => connect(of, `unix:${path}`) } as unknown as Machine;
  close = () => server.forceShutdown();
});

afterEach(() => {
  close();
  rmSync(folder, { recursive: true });
});

function status(goal: string, tasks: Partial<Task>[]): GoalStatusResponse {
  return {
    goal: Goal.fromPartial({
      id: "g",
      description: "report",
      status: goal,
      result: goal === "failed" ? "no procedure" : "",
    }),
    tasks: tasks.map((task) => Task.fromPartial(task)),
    currentPhase: goal,
    progressPercent: 0,
  };
}

const write = {
  id: "t",
  assignedAgent: "storage",
  inputJson: bytes({ tool: "fs.write", arguments: { path: "/r.txt" } }),
};

describe("goals from the host", () => {
  it("are followed to their end, each change of a task told once", async () => {
    expect(await submitGoal(machine, "report")).toBe("id of report");
    statuses = [
      status("in_progress", [{ ...write, status: "pending" }]),
      status("in_progress", [{ ...write, status: "pending" }]),
      status("completed", [{ ...write, status: "completed", startedAt: 100, completedAt: 350 }]),
    ];
    const changes: string[] = [];
    await followGoal(machine, "g", 5_000, ({ status, tool, agent }) => changes.push(`${agent} ${tool} ${status}`));
    expect(changes).toEqual(["storage fs.write pending", "storage fs.write completed"]);
  });

  it("come with what they wrote and the state of the ledger", async () => {
    statuses = [status("completed", [{ ...write, status: "completed", startedAt: 100, completedAt: 350 }])];
    const outcome = await goalOutcome(machine, await followGoal(machine, "g", 5_000));
    expect(outcome.files).toEqual([{ path: "/r.txt", content: "used 1 GB\n" }]);
    expect(outcome.tasks[0]).toMatchObject({ tool: "fs.write", durationMs: 250 });
    expect(executed.map(({ toolName }) => toolName)).toEqual(["fs.read", "sec.verify_ledger"]);
    expect(showGoal(outcome)).toMatch(
      /completed[\s\S]*storage +fs\.write +250 ms[\s\S]*used 1 GB[\s\S]*ledger verified, 7 entries/,
    );
  });

  it("that failed read back no file, and a ledger that is not valid is shouted", async () => {
    ledger = { valid: false, entries: 7, head: "abc", problems: ["entry 3 was changed"] };
    statuses = [status("failed", [{ ...write, status: "failed", error: "denied" }])];
    const outcome = await goalOutcome(machine, await followGoal(machine, "g", 5_000));
    expect(outcome).toMatchObject({ status: "failed", result: "no procedure", files: [] });
    expect(showGoal(outcome)).toMatch(/failed: no procedure[\s\S]*denied[\s\S]*ledger NOT VALID: entry 3 was changed/);
  });

  it("that do not end are given up at the deadline", async () => {
    statuses = [status("in_progress", [])];
    await expect(followGoal(machine, "g", 10)).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("in_progress"),
    });
  });
});
