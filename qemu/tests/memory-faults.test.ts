import { readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { followGoal, submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

describe.runIf(laneRuns("native"))("memory of a machine", () => {
  const fleet = useFleet();
  const spec = { lane: "native", name: "memory", data: "folder" } as const;
  let machine: Machine;
  let id: string;
  let backup: string;

  const stores = async () => {
    const admin = machine.client(MemoryAdminService);
    try {
      return (await admin.getStats({}, { timeoutMs: 5_000 })).stores;
    } finally {
      admin.close();
    }
  };
  const state = async (store: string) => (await stores().catch(() => [])).find(({ name }) => name === store)?.state;

  /** The only file of this name in the machine's data. */
  const fileCalled = (name: string) => {
    const found = readdirSync(fleet.folder(spec.name), { recursive: true, encoding: "utf8" }).filter(
      (path) => path.endsWith(`/memory/${name}`) && !path.includes("/backups/"),
    );
    expect(found).toHaveLength(1);
    return join(fleet.folder(spec.name), found[0] ?? "");
  };

  it("is backed up while the machine works, checked by a process of its own", async () => {
    machine = await fleet.boot(spec);
    await expectAllAgents(machine);
    id = await submitGoal(machine, "report disk usage to /var/lib/aios/reports/disk.txt");
    await followGoal(machine, id, 60_000);
    const admin = machine.client(MemoryAdminService);
    const made = await admin.backup({}, { timeoutMs: 60_000 });
    admin.close();
    backup = made.name;
    expect(made.stores).toEqual(["journal", "longterm", "working"]);
  });

  it("is restored as asked: the daemon starts again, and the machine goes on", async () => {
    const admin = machine.client(MemoryAdminService);
    expect((await admin.restore({ name: backup })).restored?.name).toBe(backup);
    admin.close();
    await expect.poll(() => state("working"), { timeout: 20_000 }).toBe("restored");
    expect((await followGoal(machine, id, 5_000)).goal?.status).toBe("completed");
    await expectAllAgents(machine);
  });

  it("boots with a damaged store from its last good backup, and says so", async () => {
    await machine.cut();
    truncateSync(fileCalled("working.db"), 6_000);
    rmSync(`${fileCalled("working.db")}-wal`, { force: true });
    writeFileSync(fileCalled("longterm.db"), "nothing that SQLite wrote".repeat(1_000));
    rmSync(fileCalled("journal.db"));
    machine = await fleet.boot(spec);
    for (const store of await stores()) {
      expect(store).toMatchObject({ state: "restored", detail: expect.stringContaining(backup) });
    }
    expect((await followGoal(machine, id, 5_000)).goal?.status).toBe("completed");
    await expectAllAgents(machine);
    const again = await submitGoal(machine, "report disk usage to /var/lib/aios/reports/again.txt");
    expect((await followGoal(machine, again, 60_000)).goal?.status).toBe("completed");
  });
});
