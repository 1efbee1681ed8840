import { describe, expect, it } from "vitest";
import { users } from "#manifest";
import { AutonomyService } from "#proto/aios/autonomy";
import type { AgentRegistration } from "#proto/aios/common";
import { type Boot, InitService } from "#proto/aios/init";
import { MemoryServiceService } from "#proto/aios/memory";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Probe, probe } from "../goals/probe.ts";
import type { Lane, Machine } from "../machine.ts";
import { allAgents, expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

/**
 * From the end of an agent to its registration, by the machine's clock. Budget: 2 s. Under emulation the host's pace decides
 * how long anything takes: a quarter of what the whole boot took, 6 s on a host of 2026 that does nothing else.
 */
const backWithinMs = async (lane: Lane, machine: Machine) =>
  lane === "native" ? 2_000 : (await bootOf(machine)).autonomyMs / 4;

for (const lane of ["native", "qemu"] as const) {
  describe.runIf(laneRuns(lane))(`the agents of a machine in the ${lane} lane`, () => {
    const fleet = useFleet();
    let machine: Machine;
    let look: Probe;

    const groupOf = async (pid: number) => {
      const { details } = await look.call("process.info", { pid });
      return (details as { cgroup: string } | undefined)?.cgroup ?? "";
    };
    /** The process of an agent: the one that its user has. */
    const pidOf = async (agent: string) => {
      const { processes } = (await look.call("process.list", {})) as { processes: { pid: number; uid: number }[] };
      return processes.find(({ uid }) => uid === uidOf(agent))?.pid ?? 0;
    };

    it("lie in control groups of their own name, each by itself", async () => {
      machine = await fleet.boot({ lane, name: `agents-${lane}` });
      await expectAllAgents(machine);
      look = probe(machine);
      for (const agent of allAgents) {
        expect(await groupOf(await pidOf(agent))).toMatch(new RegExp(`/orchestrator/${agent}$`));
      }
    });

    /** The group of the process that an agent has instead of that of `before`; empty while there is none. */
    const groupOfOther = async (agent: string, before: number) => {
      const pid = await pidOf(agent);
      return pid === 0 || pid === before ? "" : await groupOf(pid).catch(String);
    };

    it("one that is killed comes back into its group", async () => {
      const before = await pidOf("network");
      const group = await groupOf(before);
      const killing = run(look, "killer", `kill -9 ${before}; sleep 600`);
      const back = () => groupOfOther("network", before);
      await expect.poll(back, { timeout: 45_000, interval: 200 }).toBe(group);
      await killing;
      await expectAllAgents(machine);
      const [ended, ...others] = await noticed(machine, "agent.ended");
      expect([ended, others]).toMatchObject([{ subject: "network", detail: "killed by SIGKILL" }, []]);
      const registered = (await listed(machine)).find(({ agentId }) => agentId === "network")?.registeredAt ?? 0;
      const backMs = registered - (ended?.at ?? 0);
      console.error(`agents, ${lane}: registered again ${backMs} ms after its end`);
      expect(backMs).toBeGreaterThan(0);
      expect(backMs).toBeLessThan(await backWithinMs(lane, machine));
    }, 120_000);

    it("one that hangs is replaced, and told so", async () => {
      const before = await pidOf("package");
      await run(look, "stopper", `kill -STOP ${before}; sleep 600`);
      const back = () => groupOfOther("package", before);
      await expect.poll(back, { timeout: 60_000, interval: 500 }).toMatch(/\/orchestrator\/package$/);
      await expectAllAgents(machine);
      const detail = expect.stringMatching(/^it was silent for 3\d s, and is replaced: killed by SIGKILL$/);
      expect(await noticed(machine, "agent.ended")).toContainEqual(
        expect.objectContaining({ subject: "package", detail }),
      );
    }, 120_000);
  });
}

/** Where the kernel keeps limits: a host's own may have given the controllers away. */
describe.runIf(laneRuns("qemu"))("what an agent may use", () => {
  const fleet = useFleet();
  const folder = (agent: string) => `/sys/fs/cgroup/aios/orchestrator/${agent}`;
  let machine: Machine;
  let look: Probe;

  const limit = async (agent: string, file: string) => (await look.content(`${folder(agent)}/${file}`)).trim();

  it("is what its file says, and is listed", async () => {
    machine = await fleet.boot({ lane: "qemu", name: "agents-limits" });
    await expectAllAgents(machine);
    look = probe(machine);
    for (const agent of allAgents) {
      const limits = await Promise.all(["memory.max", "pids.max", "cpu.max"].map((file) => limit(agent, file)));
      expect(limits).toEqual(["268435456", "32", "100000 100000"]);
    }
    for (const { memoryBytes, memoryMaxBytes, cpuMs, reason } of await listed(machine)) {
      expect(memoryBytes).toBeGreaterThan(10_000_000);
      expect(memoryBytes).toBeLessThan(memoryMaxBytes / 2);
      expect(cpuMs).toBeGreaterThan(100);
      expect(reason).toBe("");
    }
  });

  it("one that forks without end comes no further than its number of threads, and ends as a whole", async () => {
    // The shell that forks lies in the group, and ends when it may not fork any more.
    const bomb = `(echo 0 > ${folder("dev")}/cgroup.procs; while sleep 600 & do :; done); sleep 600`;
    await run(look, "bomb", bomb);
    const refused = async () => Number(/^max (\d+)/.exec(await limit("dev", "pids.events"))?.[1] ?? 0);
    await expect.poll(refused, { timeout: 30_000, interval: 200 }).toBeGreaterThan(0);
    expect(Number(await limit("dev", "pids.current"))).toBeLessThanOrEqual(32);
    const processes = async () => (await limit("dev", "cgroup.procs")).split("\n").filter(Boolean).map(Number);
    const before = await processes();
    expect(before.length).toBeGreaterThan(5);
    await run(look, "killer", `kill -9 ${Math.min(...before)}; sleep 600`);
    await expect
      .poll(async () => (await processes()).filter((pid) => before.includes(pid)), { timeout: 5_000 })
      .toEqual([]);
    await expectAllAgents(machine, 60_000);
    expect(await processes()).toHaveLength(1);
  }, 120_000);

  it("one that the kernel kills for want of memory is replaced, and told so", async () => {
    const max = `${folder("storage")}/memory.max`;
    await run(look, "want", `echo 8M > ${max}; sleep 1; echo 256M > ${max}; sleep 600`);
    const told = async () =>
      (await noticed(machine, "agent.ended")).map(({ subject, detail }) => `${subject}: ${detail}`);
    await expect
      .poll(told, { timeout: 30_000, interval: 200 })
      .toContain("storage: killed by the kernel for want of memory: it may use 256 MiB");
    await expectAllAgents(machine, 60_000);
  }, 120_000);

  it("one that takes a processor for itself is reported and throttled while its duties rest", async () => {
    // What lies in its group counts as its own.
    await run(look, "busy", `echo $$ > ${folder("monitor")}/cgroup.procs; while :; do :; done`);
    const reason = async () => (await listed(machine)).find(({ agentId }) => agentId === "monitor")?.reason ?? "";
    await expect
      .poll(reason, { timeout: 150_000, interval: 1_000 })
      .toMatch(/^its duties rest: it used \d+ % of a processor for a minute; it has 0\.1 of a processor meanwhile$/);
    expect(await limit("monitor", "cpu.max")).toBe("10000 100000");
    expect(await noticed(machine, "agent.greedy")).toMatchObject([{ subject: "monitor" }]);
    expect(await resting(machine)).toEqual([expect.stringMatching(/^monitor: it used/)]);
    const used = async () => Number(/^usage_usec (\d+)/.exec(await limit("monitor", "cpu.stat"))?.[1]);
    const [before, beforeMs] = [await used(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect((await used()) - before).toBeLessThan(0.15 * 1_000 * (performance.now() - beforeMs));
  }, 240_000);
});

/** Runs a line as root for a while, as only an operator can: by a service. Agents are not for process.kill. */
async function run(look: Probe, name: string, line: string): Promise<void> {
  await look.call("service.define", { name, argv: ["/bin/sh", "-c", line], restart: "never", start: true });
}

function uidOf(agent: string): number {
  return Object.entries(users).find(([user]) => user === `aios-agent-${agent}`)?.[1].uid ?? -1;
}

async function bootOf(machine: Machine): Promise<Boot> {
  const init = machine.client(InitService);
  try {
    return await init.getBoot({});
  } finally {
    init.close();
  }
}

async function listed(machine: Machine): Promise<AgentRegistration[]> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    return (await orchestrator.listAgents({})).agents;
  } finally {
    orchestrator.close();
  }
}

async function resting(machine: Machine): Promise<string[]> {
  const autonomy = machine.client(AutonomyService);
  try {
    return (await autonomy.getAutonomy({})).resting;
  } finally {
    autonomy.close();
  }
}

/** What memory keeps of what was noticed, and when. */
async function noticed(machine: Machine, category: string): Promise<{ at: number; subject: string; detail: string }[]> {
  const memory = machine.client(MemoryServiceService);
  try {
    const { events } = await memory.getRecentEvents({ count: 200, category, source: "" });
    return events.map(({ timestamp, dataJson }) => {
      const { subject, detail } = JSON.parse(dataJson.toString());
      return { at: timestamp, subject, detail };
    });
  } finally {
    memory.close();
  }
}
