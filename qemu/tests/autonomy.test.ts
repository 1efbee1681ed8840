import { describe, expect, it } from "vitest";
import { AutonomyService } from "#proto/aios/autonomy";
import { InitService, UnitState } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, type FleetSpec, laneRuns, useFleet } from "./fleet.ts";

describe.runIf(laneRuns("native"))("a machine that acts by itself", () => {
  const fleet = useFleet();
  const spec: FleetSpec = { lane: "native", name: "autonomy" };
  let machine: Machine;

  const goal = { priority: 2, source: "", tags: [], metadataJson: Buffer.alloc(0), dependsOn: [], dedupeKey: "" };
  const submit = async (description: string) => {
    const orchestrator = machine.client(OrchestratorService);
    try {
      return (await orchestrator.submitGoal({ ...goal, description })).id;
    } finally {
      orchestrator.close();
    }
  };
  const goals = async () => {
    const orchestrator = machine.client(OrchestratorService);
    try {
      return (await orchestrator.listGoals({ statusFilter: "", limit: 100, offset: 0, cursor: "" })).goals;
    } finally {
      orchestrator.close();
    }
  };
  const call = async (tool: string, input: object) => {
    const tools = machine.client(ToolRegistryService);
    try {
      const inputJson = Buffer.from(JSON.stringify(input));
      const request = { toolName: tool, agentId: "", taskId: "", inputJson, reason: "the test of autonomy" };
      const answer = await tools.execute(request, { timeoutMs: 60_000 });
      expect({ tool, error: answer.error }).toEqual({ tool, error: "" });
      return JSON.parse(answer.outputJson.toString());
    } finally {
      tools.close();
    }
  };

  it("boots, and its agents are on duty with what their files give them", async () => {
    machine = await fleet.boot(spec);
    await expectAllAgents(machine);
    const held = async () =>
      (await call("sec.capabilities", { agent_id: "monitor" })).capabilities.map(
        ({ capability }: { capability: string }) => capability,
      );
    await expect.poll(held, { timeout: 60_000, interval: 500 }).toContain("service:read");
    const { capabilities } = await call("sec.capabilities", { agent_id: "task" });
    expect(capabilities).toEqual([]);
  });

  it("restores a service that a crash has stopped: the monitor notices, the system agent restarts it", async () => {
    // Not started again by init itself: so it is the agents' to do.
    const argv = ["/usr/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8077", "-h", "/srv"];
    await call("service.define", { name: "web", argv, ready_port: 8077, restart: "never" });
    await call("service.start", { name: "web" });
    await call("service.enable", { name: "web" });
    const unit = async () => {
      const init = machine.client(InitService);
      try {
        return await init.getUnit({ name: "web" });
      } finally {
        init.close();
      }
    };
    const { pid } = await unit();
    await call("process.kill", { pid });
    await expect.poll(async () => (await unit()).state, { timeout: 20_000 }).toBe(UnitState.UNIT_STOPPED);
    await expect.poll(async () => (await unit()).state, { timeout: 120_000, interval: 500 }).toBe(UnitState.UNIT_READY);
    const found = (await goals()).find(({ source }) => source === "trigger:service-down");
    expect(found).toMatchObject({ description: "restart service web", tags: ["proactive"] });
  }, 240_000);

  it("gives a scheduled goal at its time", async () => {
    const orchestrator = machine.client(OrchestratorService);
    const wanted = {
      cronExpr: "* * * * *",
      goalTemplate: "check system health",
      priority: 3,
      timeZone: "Europe/Berlin",
    };
    const { scheduleId } = await orchestrator.createSchedule(wanted);
    const given = async () => (await goals()).find(({ source }) => source === `schedule:${scheduleId}`)?.status;
    await expect.poll(given, { timeout: 100_000, interval: 500 }).toBe("completed");
    await orchestrator.deleteSchedule({ scheduleId });
    orchestrator.close();
  }, 120_000);

  it("is stopped within a second, stays so over a reboot, and goes on when it is resumed", async () => {
    const autonomy = machine.client(AutonomyService);
    const before = performance.now();
    const stopped = await autonomy.emergencyStop({ reason: "the test" });
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(stopped).toMatchObject({ stopped: true, reason: "the test" });
    await expect(submit("check system health")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    for (const agent of ["monitor", "system"]) {
      const { capabilities } = await call("sec.capabilities", { agent_id: agent });
      expect(capabilities).toEqual([]);
    }
    autonomy.close();
    const init = machine.client(InitService);
    await init.reboot({ reason: "the test" }).catch(() => {});
    init.close();
    await machine.ended;
    machine = await fleet.boot(spec);
    const again = machine.client(AutonomyService);
    expect(await again.getAutonomy({})).toMatchObject({ stopped: true, reason: "the test" });
    await expect(submit("check system health")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(await again.emergencyResume({})).toMatchObject({ stopped: false });
    again.close();
    const id = await submit("check system health");
    const state = async () => (await goals()).find((one) => one.id === id)?.status;
    await expect.poll(state, { timeout: 60_000, interval: 250 }).toBe("completed");
    expect(await verifyLedger(machine)).toMatchObject({ valid: true, problems: [] });
  }, 240_000);
});
