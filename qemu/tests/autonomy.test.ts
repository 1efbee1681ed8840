import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import { AutonomyService } from "#proto/aios/autonomy";
import { InitService, UnitState } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { socketsOf } from "../faults/sockets.ts";
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

  const serve = async (name: string, argv: readonly string[], more: object = {}) =>
    await call("service.define", { name, argv, restart: "never", enabled: true, start: true, ...more });
  const unit = async (name: string) => {
    const init = machine.client(InitService);
    try {
      return await init.getUnit({ name });
    } finally {
      init.close();
    }
  };
  /** Resolves when the service is as wanted after its process was killed, with the milliseconds that it took. */
  const kill = async (name: string, wanted: UnitState) => {
    const { pid } = await unit(name);
    expect(pid).toBeGreaterThan(0);
    await call("process.kill", { pid, grace_seconds: 0 });
    const at = performance.now();
    const state = async () => {
      const now = await unit(name);
      return now.pid === pid ? undefined : now.state;
    };
    await expect.poll(state, { timeout: 60_000, interval: 50 }).toBe(wanted);
    return Math.round(performance.now() - at);
  };
  const restorations = async (name: string) =>
    (await goals()).filter(
      ({ source, description }) => source === "trigger:service-down" && description === `restart service ${name}`,
    );
  const autonomy = async (level?: string) => {
    const client = machine.client(AutonomyService);
    try {
      return level === undefined ? await client.getAutonomy({}) : await client.setAutonomy({ level });
    } finally {
      client.close();
    }
  };

  const heldBack = async (name: string) =>
    (await autonomy()).heldBack.filter((one) => one.startsWith(`restart service ${name} `));

  // Not started again by init itself: so it is the agents' to do.
  it("restores a service that has ended, each time: the monitor notices, the system agent restarts it", async () => {
    await serve("web", ["/usr/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8077", "-h", "/srv"], { ready_port: 8077 });
    for (const [times, pauseMs] of [2_000, 5_000, 20_000].entries()) {
      await delay(pauseMs);
      console.error(`autonomy: ready again ${await kill("web", UnitState.UNIT_READY)} ms after it was killed`);
      const found = await restorations("web");
      expect(found).toHaveLength(times + 1);
      expect(found[0]).toMatchObject({ tags: ["proactive"] });
    }
  }, 240_000);

  it("restores one that dies over and over less and less often, and says that it waits", async () => {
    await serve("dying", ["/usr/bin/busybox", "sleep", "1"]);
    await delay(40_000);
    const given = (await restorations("dying")).length;
    console.error(`autonomy: ${given} goals in 40 s for a service that ends after a second`);
    expect(given).toBeGreaterThan(1);
    expect(given).toBeLessThan(8);
    const held = () => heldBack("dying");
    await expect
      .poll(held, { timeout: 30_000, interval: 250 })
      .toEqual([expect.stringMatching(/^restart service dying \(dying: stopped: .*in a row, and not again before/)]);
    await call("service.stop", { name: "dying" });
    await expect.poll(held, { timeout: 30_000, interval: 250 }).toEqual([]);
  }, 150_000);

  it("restores nothing at the level manual, tells what it would do, and does it when it may again", async () => {
    await autonomy("manual");
    await kill("web", UnitState.UNIT_STOPPED);
    const before = (await restorations("web")).length;
    const held = () => heldBack("web");
    await expect
      .poll(held, { timeout: 30_000, interval: 250 })
      .toEqual([expect.stringMatching(/^restart service web \(web: stopped: ended by SIGKILL\): .*level manual/)]);
    await delay(5_000);
    expect(await restorations("web")).toHaveLength(before);
    await autonomy("");
    await expect
      .poll(async () => (await unit("web")).state, { timeout: 60_000, interval: 250 })
      .toBe(UnitState.UNIT_READY);
    expect(await held()).toEqual([]);
  }, 150_000);

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

  it("holds what agents have started while it is stopped, and lets it go on afterwards", async () => {
    const ticking = ["/usr/bin/busybox", "sh", "-c", "while :; do echo tick; busybox sleep 0.1; done"];
    const capabilities = ["process:spawn:/usr/bin/busybox", "service:define:ticking", "service:run:/usr/bin/busybox"];
    await call("sec.grant", { agent_id: "task", capabilities, reason: "the test of autonomy" });
    const own = socketsOf(machine).find(({ name }) => name === "agents/task/tools.sock");
    const agent = connect(ToolRegistryService, `unix:${own?.path}`);
    const asAgent = async (toolName: string, input: object) => {
      const inputJson = Buffer.from(JSON.stringify(input));
      const request = { toolName, agentId: "", taskId: "", inputJson, reason: "the test of autonomy" };
      const answer = await agent.execute(request, { timeoutMs: 60_000 });
      expect({ toolName, error: answer.error }).toEqual({ toolName, error: "" });
      return JSON.parse(answer.outputJson.toString());
    };
    const [command, ...args] = ticking;
    const { pid } = await asAgent("process.spawn", { command, args });
    await asAgent("service.define", { name: "ticking", argv: ticking, restart: "never", start: true });
    agent.close();
    const ticks = async () => [
      (await call("process.output", { pid })).stdout.length as number,
      (await call("service.logs", { name: "ticking" })).entries.at(-1)?.timestamp as number,
    ];
    const agents = () => machine.processes().filter(({ argv }) => argv.join(" ").includes("agents.cjs"));
    const before = agents().map(({ pid }) => pid);
    const grow = async () => {
      const [output = 0, log = 0] = await ticks();
      const grown = async () => (await ticks()).map((now, at) => now > ([output, log][at] ?? 0));
      await expect.poll(grown, { timeout: 30_000 }).toEqual([true, true]);
    };
    await grow();
    const autonomy = machine.client(AutonomyService);
    await autonomy.emergencyStop({ reason: "the test" });
    // What they had written by then is read within a moment.
    await delay(1_000);
    const held = await ticks();
    await delay(1_500);
    expect(await ticks()).toEqual(held);
    await autonomy.emergencyResume({});
    autonomy.close();
    await grow();
    await expectAllAgents(machine);
    expect(agents().map(({ pid }) => pid)).toEqual(before);
    await call("process.kill", { pid, grace_seconds: 0 });
    await call("service.stop", { name: "ticking" });
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

  it("restores a service that ends as soon as the machine is up", async () => {
    const before = (await restorations("web")).length;
    await machine.powerOff();
    machine = await fleet.boot(spec);
    const tookMs = await kill("web", UnitState.UNIT_READY);
    console.error(`autonomy: ready again ${tookMs} ms after it was killed at the boot`);
    // Less than the five seconds between two beats, the second of which would give the monitor its duties.
    expect(tookMs).toBeLessThan(4_000);
    expect(await restorations("web")).toHaveLength(before + 1);
    const status = async () => (await restorations("web"))[0]?.status;
    await expect.poll(status, { timeout: 20_000, interval: 100 }).toBe("completed");
  }, 120_000);
});
