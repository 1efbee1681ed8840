import { describe, expect, it } from "vitest";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { executeTool, followGoal, goalOutcome, showGoal, submitGoal, verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { laneRuns, useFleet } from "./fleet.ts";

const path = "/var/lib/aios/reports/disk.txt";

describe.runIf(laneRuns("native"))("a goal", () => {
  const fleet = useFleet();
  let machine: Machine;

  it("typed on the host is done by agents, and its result is read back over port 9090", async () => {
    machine = await fleet.boot({ lane: "native", name: "goal" });
    const before = await verifyLedger(machine);
    const id = await submitGoal(machine, `report disk usage to ${path}`);
    const outcome = await goalOutcome(machine, await followGoal(machine, id, 30_000));
    expect(outcome.status, showGoal(outcome)).toBe("completed");
    expect(outcome.tasks.length).toBeGreaterThan(1);
    expect(outcome.tasks.map(({ status }) => status)).toEqual(outcome.tasks.map(() => "completed"));
    expect(outcome.tasks.map(({ tool }) => tool)).toEqual(expect.arrayContaining(["monitor.disk", "fs.write"]));
    expect(outcome.files.map((file) => file.path)).toEqual([path]);
    expect(outcome.files[0]?.content).toMatch(/\d/);
    expect(outcome.ledger).toMatchObject({ valid: true, problems: [] });
    expect(outcome.ledger.entries).toBeGreaterThan(before.entries);
    expect(outcome.ledger.head).not.toBe(before.head);
  });

  it("leaves no grant behind", async () => {
    const { entries } = (await executeTool(
      machine,
      "sec.audit",
      { agent_id: "storage", tool_name: "", limit: 10 },
      "test",
    )) as {
      entries: unknown[];
    };
    expect(Array.isArray(entries)).toBe(true);
    for (const agent_id of ["storage", "monitor", "task", "system"]) {
      const held = await executeTool(machine, "sec.capabilities", { agent_id }, "test");
      expect(JSON.stringify(held)).not.toContain(path);
    }
  });

  it("that no procedure covers fails with that reason", async () => {
    const id = await submitGoal(machine, "compose a symphony in B flat");
    const { goal } = await followGoal(machine, id, 30_000);
    expect(goal).toMatchObject({ status: "failed", result: expect.stringMatching(/procedure/) });
  });

  it("can be found again in the list of goals", async () => {
    const orchestrator = machine.client(OrchestratorService);
    const { goals } = await orchestrator.listGoals({
      statusFilter: "completed",
      limit: 0,
      offset: 0,
      cursor: "",
    });
    orchestrator.close();
    // A busy host has the machine give itself goals, too.
    const ours = goals.filter(({ source }) => source.startsWith("operator:"));
    expect(ours).toMatchObject([{ description: `report disk usage to ${path}` }]);
  });
});
