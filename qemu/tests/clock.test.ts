import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTimeServer, type TimeServerTwin } from "#lib/testing/time-server";
import { InitService } from "#proto/aios/init";
import { bootTimeoutMs, type Machine } from "../machine.ts";
import { laneRuns, useFleet } from "./fleet.ts";

describe.runIf(laneRuns("qemu"))("a machine whose clock is wrong when it is switched on", () => {
  const fleet = useFleet();
  let server: TimeServerTwin;
  beforeAll(async () => {
    server = await startTimeServer();
  });
  afterAll(() => server.close());

  const clockOf = async (machine: Machine) => {
    const init = machine.client(InitService);
    try {
      const { clock, faults } = await init.getBoot({});
      return { clock, faults: faults.filter((fault) => fault.startsWith("clock")) };
    } finally {
      init.close();
    }
  };

  it.each([
    ["1970", 0],
    ["2099", Date.UTC(2099, 0, 1)],
  ])("is reached in %s, says that it is not sure, and is set by a time server", async (name, clockMs) => {
    const append = [`aios.network.ntp_servers=['10.0.2.2:${server.port}']`];
    server.answer(null);
    const machine = await fleet.start({ lane: "qemu", name: `clock-${name}`, clockMs, reachesHost: true, append });
    try {
      await machine.reached(bootTimeoutMs.qemu);
      const before = await clockOf(machine);
      expect(before.clock).toMatchObject({ sure: false });
      expect(before.faults).toEqual([expect.stringContaining("the hardware clock says")]);
      server.answer({});
      await machine.waitFor(/aios-init: clock set to .* told/, 120_000);
      await expect
        .poll(() => clockOf(machine), { timeout: 10_000 })
        .toMatchObject({ clock: { sure: true }, faults: [] });
      expect(Math.abs(Date.parse(setTo(machine)) - Date.now())).toBeLessThan(60_000);
      // Whoever comes with a certificate of now is taken still.
      await machine.reached(10_000);
    } finally {
      await machine.cut();
    }
  });
});

/** The time that the machine set its clock to by a time server. */
function setTo(machine: Machine): string {
  const line = machine.console.lines.findLast(({ text }) => /clock set to .* told/.test(text))?.text ?? "";
  return /clock set to (\S+)/.exec(line)?.[1] ?? "";
}
