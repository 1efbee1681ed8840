import { describe, expect, it } from "vitest";
import { consoleLines, daemons } from "#manifest";
import { InitService, UnitState } from "#proto/aios/init";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";
import { ServerReflectionService } from "#proto/grpc/reflection/v1/reflection";
import type { Machine } from "../machine.ts";
import { allAgents, expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

/** QEMU's own start and the firmware lie before kernel start: the host sees the ready line that much later, at most. */
const cases = [
  { lane: "native", hostBeforeKernelMs: 1_500 },
  { lane: "qemu", hostBeforeKernelMs: 10_000 },
  // The firmware lane also proves DHCP: its provisioning volume names no address.
  { lane: "firmware", hostBeforeKernelMs: 60_000, dhcp: true },
] as const;

for (const { lane, hostBeforeKernelMs, ...spec } of cases) {
  describe.runIf(laneRuns(lane))(`boot in the ${lane} lane`, () => {
    const fleet = useFleet();
    let machine: Machine;

    it("reaches autonomy with all eight agents", async () => {
      machine = await fleet.boot({ lane, name: `boot-${lane}`, ...spec });
      expect(allAgents).toHaveLength(8);
      await expectAllAgents(machine);
    });

    it("says so on its console once, after each phase in order", () => {
      const lines = machine.console.lines.map(({ text }) => text);
      const phases = lines.flatMap((line) => /phase (\d)\/6 (\w[\w ]*): ready, \d+ ms/.exec(line)?.[1] ?? []);
      expect(phases.slice(0, 5)).toEqual(["1", "2", "3", "4", "5"]);
      expect(lines.filter((line) => line.includes(consoleLines.firstJavascript))).toHaveLength(1);
      expect(lines.filter((line) => line.includes(consoleLines.ready))).toHaveLength(1);
      expect(lines.join("\n")).not.toMatch(/Kernel panic|aiOS is degraded/);
    });

    it("tells the same timeline over port 9090 as the host's clock", async () => {
      const init = machine.client(InitService);
      const boot = await init.getBoot({});
      const { units } = await init.listUnits({});
      init.close();
      expect(boot).toMatchObject({ state: "autonomous", faults: [] });
      expect(boot.phases.map(({ state }) => state)).toEqual(Array.from({ length: 6 }, () => "ready"));
      const ready = await machine.waitFor(consoleLines.ready, 0);
      expect(boot.firstJavascriptMs).toBeGreaterThan(0);
      expect(boot.autonomyMs).toBeGreaterThan(boot.firstJavascriptMs);
      expect(ready.atMs - boot.autonomyMs).toBeGreaterThan(-200);
      expect(ready.atMs - boot.autonomyMs).toBeLessThan(hostBeforeKernelMs);
      expect(units.map(({ name }) => name).sort()).toEqual(daemons.map(({ name }) => name).sort());
      for (const unit of units) expect(unit).toMatchObject({ state: UnitState.UNIT_READY, restarts: 0 });
    });

    it("serves health and reflection on port 9090", async () => {
      const health = machine.client(HealthService);
      expect(await health.check({ service: "" })).toEqual({ status: Status.SERVING });
      health.close();
      const reflection = machine.client(ServerReflectionService);
      const answers = reflection.serverReflectionInfo(ask("listServices"));
      const names: string[] = [];
      for await (const { messageResponse } of answers)
        if (messageResponse?.$case === "listServicesResponse")
          names.push(...messageResponse.value.service.map(({ name }) => name));
      reflection.close();
      expect(names).toEqual(
        expect.arrayContaining(["aios.orchestrator.Orchestrator", "aios.tools.ToolRegistry", "aios.init.Init"]),
      );
    });

    it("has stored and found a vector", async () => {
      const memory = machine.client(MemoryQueryService);
      const poll = () => memory.searchStatus({});
      await expect.poll(poll, { timeout: 30_000 }).toMatchObject({ vectorsReady: true });
      memory.close();
    });

    it("powers off in order when told to over port 9090", async () => {
      await machine.powerOff();
      expect(machine.console.lines.map(({ text }) => text).join("\n")).toContain(consoleLines.powerOff);
    });
  });
}

async function* ask(question: "listServices") {
  yield { host: "", messageRequest: { $case: question, value: "" } } as const;
}
