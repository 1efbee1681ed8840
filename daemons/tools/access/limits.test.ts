import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Machine, startMachine } from "../testing/harness.ts";

const policy = (limits: string) => `
[approval]
full = []
supervised = ["high", "critical"]
manual = ["low", "medium", "high", "critical"]
timeout = "120s"
pending_per_agent_max = 5
${limits}
[redaction]
keys = ["password"]
`;

let machine: Machine;
afterEach(() => machine.close());

async function start(limits: string, clock = new ManualClock()): Promise<ManualClock> {
  machine = await startMachine({ clock, policy: policy(limits) });
  for (const agent_id of ["task", "system"]) {
    const capabilities = ["hw:read", `fs:write:${machine.folder}/ground/**`, `fs:read:${machine.folder}/ground/**`];
    await machine.core.call("sec.grant", { agent_id, capabilities, reason: "r", duration_seconds: 3600 });
  }
  return clock;
}

const exhausted = (retryAfterMs: number, what: string) => ({
  code: "RESOURCE_EXHAUSTED",
  retryAfterMs,
  message: expect.stringContaining(what),
});

const write = (agent: string, name = "f") =>
  machine.agent(agent).call("fs.write", { path: `${machine.folder}/ground/${name}`, content: "x" });

describe("limits", () => {
  it("hold for each agent, tell when there is room again, and leave others alone", async () => {
    const clock = await start("[limits.global]\n[limits.agent]\ncalls = 3");
    for (let made = 0; made < 3; made += 1) {
      expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
      await clock.advance(1_000);
    }
    const refusal = exhausted(57_000, "no more than 3 calls of task in 60 s; try again in 57 s");
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject(refusal);
    expect(await machine.agent("system").call("hw.info")).toMatchObject({ success: true });
    for (let made = 0; made < 10; made += 1) await machine.core.call("hw.info");
    await clock.advance(57_000);
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject(exhausted(1_000, "try again in 1 s"));
  });

  it("hold for all agents together, and for writes apart from reads", async () => {
    await start("[limits.global]\nwrites = 2\n[limits.agent]");
    expect(await write("task")).toMatchObject({ success: true });
    expect(await write("system", "g")).toMatchObject({ success: true });
    await expect(write("task")).rejects.toMatchObject(exhausted(60_000, "2 writes of all agents"));
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
  });

  it("hold for what cannot be taken back, and for what leaves the machine", async () => {
    const clock = new ManualClock();
    await start("[limits.global]\n[limits.agent]\nnetwork = 0", clock);
    const capabilities = ["net:probe:**", "web:http:**"];
    const { tools } = await machine.core.raw.listTools({ namespace: "web" });
    const needed = tools.find(({ name }) => name === "web.http_request")?.requiredCapabilities[0] ?? "";
    capabilities.splice(0, 2, needed.replace(/\{.*/, "**"));
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
    const call = machine.agent("task").call("web.http_request", { url: "http://192.0.2.1/", method: "GET" });
    await expect(call).rejects.toMatchObject(exhausted(60_000, "0 network of task"));
  });

  it("hold for one tool, and between two calls of it", async () => {
    const clock = await start('[limits.global]\n[limits.agent]\n[limits.tools."fs.write"]\ncooldown = "2s"');
    expect(await write("task")).toMatchObject({ success: true });
    await clock.advance(500);
    await expect(write("task")).rejects.toMatchObject(exhausted(1_500, "every 2000 ms"));
    await clock.advance(1_500);
    expect(await write("task")).toMatchObject({ success: true });
  });

  it("are not used up by calls that the gate refuses", async () => {
    await start("[limits.global]\n[limits.agent]\ncalls = 1");
    for (let made = 0; made < 5; made += 1) {
      await expect(machine.agent("task").call("monitor.cpu")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
  });
});
