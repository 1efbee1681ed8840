import { describe, expect, it } from "vitest";
import { consoleLines } from "#manifest";
import { executeTool, followGoal, goalOutcome, showGoal, submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

const path = "/var/lib/aios/reports/disk.txt";

describe.runIf(laneRuns("qemu"))("a power cut", () => {
  const fleet = useFleet();
  const spec = { lane: "qemu", name: "powercut" } as const;
  let machine: Machine;
  let id: string;

  it("right after a goal was acknowledged", async () => {
    machine = await fleet.boot(spec);
    id = await submitGoal(machine, `report disk usage to ${path}`);
    await machine.cut();
    expect(machine.console.lines.map(({ text }) => text).join("\n")).not.toContain(consoleLines.powerOff);
  });

  it("loses nothing: after the next boot the goal is there and gets done", async () => {
    machine = await fleet.boot(spec);
    const outcome = await goalOutcome(machine, await followGoal(machine, id, 60_000));
    expect(outcome.status, showGoal(outcome)).toBe("completed");
    expect(outcome.files[0]).toMatchObject({ path, content: expect.stringMatching(/\d/) });
    expect(outcome.ledger, showGoal(outcome)).toMatchObject({ valid: true, problems: [] });
    await expectAllAgents(machine);
  });

  it("and a second boot after an orderly end keeps the data", async () => {
    const before = (await executeTool(machine, "fs.read", { path }, "test")) as { content: string };
    await machine.powerOff();
    machine = await fleet.boot(spec);
    expect(await executeTool(machine, "fs.read", { path }, "test")).toMatchObject({ content: before.content });
    const { goal, tasks } = await followGoal(machine, id, 1_000);
    expect(goal).toMatchObject({ id, status: "completed" });
    expect(tasks.map(({ status }) => status)).toEqual(tasks.map(() => "completed"));
  });
});
