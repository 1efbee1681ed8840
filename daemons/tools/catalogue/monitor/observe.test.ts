import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Unit, UnitState } from "#proto/aios/init";
import { type Machine, startMachine } from "../../testing/harness.ts";

let machine: Machine;
let work: string;

const units = [
  Unit.fromPartial({ name: "memory", state: UnitState.UNIT_READY }),
  Unit.fromPartial({ name: "gateway", state: UnitState.UNIT_CRASH_LOOP, reason: "exit 70" }),
];

const lines = [
  { unit: "memory", timestamp: 1, text: "first" },
  { unit: "gateway", timestamp: 2, text: "an error" },
  { unit: "memory", timestamp: 3, text: `long ${"x".repeat(600_000)}` },
  { unit: "memory", timestamp: 4, text: `longer ${"x".repeat(600_000)}` },
];

const init = {
  listUnits: async () => ({ units }),
  async *readLogs({ unit, lines: most }: { unit?: string; lines?: number }) {
    yield* lines.filter((line) => unit === "" || line.unit === unit).slice(-(most ?? 100));
  },
};

beforeAll(async () => {
  machine = await startMachine({ init });
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterAll(() => machine.close());

const call = (tool: string, input: object = {}) => machine.core.call(tool, input);

it("monitor.network counts what goes through", async () => {
  const { output } = await call("monitor.network", { interface: "lo" });
  expect(output.interfaces).toEqual([expect.objectContaining({ interface: "lo", rx_errors: 0 })]);
  expect(output.interfaces[0].rx_bytes).toBe(output.interfaces[0].tx_bytes);
  expect(await call("monitor.network", { interface: "none0" })).toMatchObject({ success: false });
});

it("monitor.gpu answers, with GPUs or without", async () => {
  expect(await call("monitor.gpu")).toMatchObject({ success: true, output: { gpus: expect.any(Array) } });
});

it("monitor.health puts it together, and names the service that keeps failing", async () => {
  const { output } = await call("monitor.health");
  expect(output).toMatchObject({
    healthy: false,
    issues: expect.arrayContaining([{ what: "service gateway", severity: "critical", detail: "exit 70" }]),
    services: { ready: 1, failed: 1 },
  });
  expect(output.memory_percent).toBeGreaterThan(0);
  expect(output.uptime_seconds).toBeGreaterThan(0);
});

describe("monitor.logs", () => {
  const texts = async (input: object) =>
    (await call("monitor.logs", input)).output.entries.map(({ text }: { text: string }) => text.split(" ")[0]);

  it("gives back the last lines, of one service or those with a word", async () => {
    expect(await texts({ service: "gateway" })).toEqual(["an"]);
    expect(await texts({ contains: "rs" })).toEqual(["first"]);
    expect(await texts({ service: "memory", lines: 1 })).toEqual(["longer"]);
  });

  it("leaves out the oldest when the answer would be too large", async () => {
    expect(await texts({ service: "memory" })).toEqual(["longer"]);
  });
});

describe("monitor.watch", () => {
  it("tells what changed in a folder while it looked", async () => {
    const watching = call("monitor.watch", { path: work, seconds: 2 });
    const changing = setInterval(() => {
      writeFileSync(`${work}/new`, "x");
      renameSync(`${work}/new`, `${work}/newer`);
    }, 200);
    const { output } = await watching.finally(() => clearInterval(changing));
    expect(output.complete).toBe(true);
    expect(output.events).toContainEqual({ name: "new", type: "rename", at: expect.any(Number) });
    expect(output.events).toContainEqual({ name: "newer", type: "rename", at: expect.any(Number) });
  });

  it("ends with as many events as were asked for", async () => {
    const watching = call("monitor.watch", { path: work, seconds: 20, events_max: 1 });
    await delay(400);
    rmSync(`${work}/newer`);
    expect((await watching).output).toMatchObject({ events: [{ name: "newer" }], complete: false });
  });

  it("shows an agent only what it may read", async () => {
    symlinkSync(work, `${machine.folder}/link`);
    const capabilities = [`fs:read:${machine.folder}/link`];
    await call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
    await expect(
      machine.agent("task").call("monitor.watch", { path: `${machine.folder}/link`, seconds: 0.1 }),
    ).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
