import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { daemons } from "#manifest";
import { InitService, type Unit, UnitState } from "#proto/aios/init";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { followGoal, goalOutcome, submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import type { MachineProcess } from "../native-processes.ts";
import { expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

/** A killed daemon is started again within this, and then takes its own time to be ready. */
const restartWithinMs = 2_000;

describe.runIf(laneRuns("native"))("kills", () => {
  const fleet = useFleet();
  let machine: Machine;

  it("boots", async () => {
    machine = await fleet.boot({ lane: "native", name: "kills" });
    await expectAllAgents(machine);
  });

  it.each(daemons.map(({ name }) => name))(
    "%s comes back after SIGKILL, and the system is ready again",
    async (name) => {
      // Without the console there is no port 9090: what happened meanwhile is asked afterwards.
      const before = await unit(machine, name);
      const killedMs = performance.now();
      await machine.killUnit(name);
      if (name === "memory") await expectGoals(machine);
      const after = await readyAgain(machine, before);
      const tookMs = performance.now() - killedMs;
      expect(after.restarts).toBe(before.restarts + 1);
      expect(tookMs).toBeLessThan(restartWithinMs + after.readyAfterMs + pollMs);
      await expectAllAgents(machine);
      await expectAutonomous(machine);
    },
  );

  it("an agent comes back after SIGKILL", async () => {
    const agents = () => machine.processes().filter(({ argv }) => argv.join(" ").includes("agents.cjs"));
    expect(agents()).toHaveLength(8);
    const victim = kill(agents()[0]);
    await expect.poll(() => agents().filter(({ pid }) => pid !== victim).length, { timeout: 10_000 }).toBe(8);
    await expectAllAgents(machine);
  });

  it("vectors are searched again after Chroma was killed", async () => {
    const memory = machine.client(MemoryQueryService);
    const ready = async () => (await memory.searchStatus({})).vectorsReady;
    await expect.poll(ready, { timeout: 20_000 }).toBe(true);
    const { chromaPid } = await memory.searchStatus({});
    kill(machine.processes().find(({ pid }) => pid === chromaPid));
    const poll = async () => {
      const { vectorsReady, chromaPid: now } = await memory.searchStatus({});
      return vectorsReady && now !== chromaPid;
    };
    await expect.poll(poll, { timeout: 20_000 }).toBe(true);
    memory.close();
  });

  it("no orphan of all that stays behind as a zombie", () => {
    // A zombie has no arguments.
    expect(machine.processes().filter(({ argv }) => argv.length === 0)).toEqual([]);
  });

  it("a goal is done after all that, and the ledger is whole", async () => {
    const id = await submitGoal(machine, "report disk usage to /var/lib/aios/reports/disk.txt");
    const outcome = await goalOutcome(machine, await followGoal(machine, id, 30_000));
    expect(outcome).toMatchObject({ status: "completed", ledger: { valid: true, problems: [] } });
  });
});

const pollMs = 50;

/** Kills a process with SIGKILL and gives back its number in the machine. */
function kill(victim: MachineProcess | undefined): number {
  if (victim === undefined) throw new Error("there is no such process in the machine");
  process.kill(victim.hostPid, "SIGKILL");
  return victim.pid;
}

async function unit(machine: Machine, name: string): Promise<Unit> {
  const init = machine.client(InitService);
  try {
    return await init.getUnit({ name }, { timeoutMs: 1_000 });
  } finally {
    init.close();
  }
}

/** The unit once it is ready under another pid. */
async function readyAgain(machine: Machine, before: Unit): Promise<Unit> {
  let now: Unit | undefined;
  const poll = async () => {
    now = await unit(machine, before.name).catch(() => undefined);
    return now !== undefined && now.state === UnitState.UNIT_READY && now.pid !== before.pid;
  };
  await expect.poll(poll, { timeout: 20_000, interval: pollMs }).toBe(true);
  if (now === undefined) throw new Error(`${before.name} is not there`);
  return now;
}

/** The orchestrator waits for memory, so that who asks it hears nothing of the restart. */
async function expectGoals(machine: Machine): Promise<void> {
  // Until its end is known: what had reached it is lost with it.
  await delay(100);
  const orchestrator = machine.client(OrchestratorService);
  const { goals } = await orchestrator.listGoals({ statusFilter: "", limit: 0, offset: 0, cursor: "" });
  // On a busy host the machine gives itself goals.
  expect(goals.filter(({ source }) => !source.startsWith("trigger:"))).toEqual([]);
  orchestrator.close();
}

async function expectAutonomous(machine: Machine): Promise<void> {
  const init = machine.client(InitService);
  const poll = async () => {
    const { units } = await init.listUnits({});
    return units.filter(({ state }) => state !== UnitState.UNIT_READY).map(({ name }) => name);
  };
  await expect.poll(poll, { timeout: 20_000, interval: pollMs }).toEqual([]);
  expect(await init.getBoot({})).toMatchObject({ state: "autonomous" });
  init.close();
}
