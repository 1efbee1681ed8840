import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createCa, issueCertificate } from "#lib/identity/certify";
import type { KeyPair } from "#lib/identity/pki";
import type { Role } from "#lib/identity/role";
import { InitService } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { laneRuns, useFleet } from "./fleet.ts";

const dayMs = 86_400_000;

describe.runIf(laneRuns("native"))("port 9090", () => {
  const fleet = useFleet();
  let machine: Machine;

  const operatorCa = (): KeyPair => ({
    certificate: readFileSync(join(fleet.operatorFolder, "ca.pem"), "utf8"),
    key: readFileSync(join(fleet.operatorFolder, "ca.key"), "utf8"),
  });
  const client = (role: Role, ca = operatorCa(), nowMs = Date.now()) =>
    issueCertificate(ca, { kind: "client", name: "tester", role }, nowMs);

  it("answers the operator", async () => {
    machine = await fleet.boot({ lane: "native", name: "identity" });
  });

  it.each([
    ["without a certificate", async () => undefined],
    ["with another authority's certificate", async () => client("admin", await createCa("somebody-else", Date.now()))],
    ["with an expired certificate", () => client("admin", operatorCa(), Date.now() - 1_000 * dayMs)],
  ])("refuses a client %s, at once", async (_, pair) => {
    const init = machine.client(InitService, { pair: await pair() });
    const startedMs = performance.now();
    await expect(init.getBoot({}, { timeoutMs: 8_000 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - startedMs).toBeLessThan(7_000);
    init.close();
    // It was the client that was refused, not the machine that was gone.
    const own = machine.client(InitService);
    expect((await own.getBoot({})).state).toBe("autonomous");
    own.close();
  });

  it("lets a reader read and not submit a goal, an operator not power off", async () => {
    const reader = { pair: await client("reader") };
    const init = machine.client(InitService, reader);
    expect((await init.getBoot({})).state).toBe("autonomous");
    init.close();
    const orchestrator = machine.client(OrchestratorService, reader);
    const goal = {
      description: "report disk usage to /tmp/x",
      priority: 2,
      source: "",
      tags: [],
      metadataJson: Buffer.alloc(0),
      dependsOn: [],
      dedupeKey: "",
    };
    await expect(orchestrator.submitGoal(goal)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("operator"),
    });
    orchestrator.close();
    const operator = machine.client(InitService, { pair: await client("operator") });
    await expect(operator.shutdown({ reason: "test" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    operator.close();
  });

  it("still takes goals from the operator", async () => {
    expect(await submitGoal(machine, "report disk usage to /var/lib/aios/reports/disk.txt")).not.toBe("");
  });
});
