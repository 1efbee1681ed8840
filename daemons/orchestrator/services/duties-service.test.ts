import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import type { Client, Identity } from "#lib/rpc/service";
import { DutiesService } from "#proto/aios/duties";
import { Event } from "#proto/aios/memory";
import { openUsageLimits } from "../agents/usage-limits.ts";
import { undoOf } from "../goals/undo.ts";
import { memoryEvents } from "../initiative/memory-events.ts";
import { type Notice, openNotices } from "../initiative/notices.ts";
import { openRegistry, type ServiceRegistry } from "../initiative/registry.ts";
import { readTriggers } from "../initiative/triggers.ts";
import { durableTwin } from "../testing/further-twin.ts";
import { dutiesService } from "./duties-service.ts";

let folder: string;
let closing: (() => void)[];
let registry: ServiceRegistry;
let noticed: Notice[];
let measured: string[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-duties-");
  closing = [];
  noticed = [];
  measured = [];
  registry = openRegistry(durableTwin([]), systemClock);
});

afterEach(() => {
  for (const close of closing) close();
  rmSync(folder, { recursive: true });
});

const notices = openNotices();

async function clientOf(identity: Identity): Promise<Client<typeof DutiesService>> {
  const service = dutiesService({
    ...{ registry, notices, usage: openUsageLimits({ clock: systemClock, exceeded: () => {} }) },
    measure: async (key, value) => void measured.push(`${key} ${value}`),
    notice: async (notice) => {
      noticed.push(notice);
      notices.tell(notice);
    },
  });
  const server = createServer([service], () => identity, silentLog);
  const path = `${folder}/${identity.name}.sock`;
  await listen(server, { path, identity, mode: 0o600 });
  const client = connect(DutiesService, `unix:${path}`);
  closing.push(
    () => client.close(),
    () => server.forceShutdown(),
  );
  return client;
}

const down = { category: "service.down", severity: "critical", subject: "web", detail: "d", source: "operator" };
const empty = { metrics: [], notices: [], services: [] };

describe("duties", () => {
  it("are reported by whose socket it is, whatever the message says", async () => {
    const monitor = await clientOf({ kind: "agent", name: "monitor" });
    await monitor.report({ ...empty, metrics: [{ key: "cpu.percent", value: 5 }], notices: [down] });
    expect(noticed).toMatchObject([{ subject: "web", source: "monitor" }]);
    expect(measured).toEqual(["cpu.percent 5"]);
  });

  it("wake those who listen", async () => {
    const system = await clientOf({ kind: "agent", name: "system" });
    const stop = new AbortController();
    const heard = (async () => {
      for await (const { subject } of system.listen({ categories: ["service.*"] }, { signal: stop.signal }))
        return subject;
      return undefined;
    })();
    const tell = setInterval(() => notices.tell({ ...down, severity: "critical" }), 20);
    expect(await heard).toBe("web");
    clearInterval(tell);
    stop.abort();
  });

  it("of the monitor tell how registered services are, those of others do not", async () => {
    const web = { name: "web", address: "127.0.0.1", port: 80, protocol: "http", healthCheckPath: "", managedBy: "" };
    registry.register({ ...web, registeredBy: "operator:o" });
    const services = [{ name: "web", healthy: true, detail: "" }];
    await (await clientOf({ kind: "agent", name: "dev" })).report({ ...empty, services });
    expect(registry.find("web").status).toBe("unknown");
    const monitor = await clientOf({ kind: "agent", name: "monitor" });
    await monitor.report({ ...empty, services });
    expect(registry.find("web").status).toBe("healthy");
    expect((await monitor.getWatchList({})).services).toMatchObject([{ name: "web", port: 80 }]);
  });

  it.each([
    ["a category that is none", { notices: [{ ...down, category: "Service Down" }] }],
    ["a severity that is none", { notices: [{ ...down, severity: "bad" }] }],
    ["no subject", { notices: [{ ...down, subject: "" }] }],
    ["a metric that is no number", { metrics: [{ key: "a", value: Number.NaN }] }],
    ["too much", { metrics: Array(101).fill({ key: "a", value: 1 }) }],
  ])("with %s are refused whole", async (_, more) => {
    const dev = await clientOf({ kind: "agent", name: "dev" });
    await expect(dev.report({ ...empty, ...more })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect([noticed, measured]).toEqual([[], []]);
  });

  it("are for agents alone", async () => {
    const core = await clientOf({ kind: "core", name: "core" });
    await expect(core.report(empty)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

describe("events of other daemons", () => {
  it("are told once, and what was pushed here is not told again", async () => {
    const clock = new ManualClock();
    const ring: Event[] = [];
    const memory = {
      pushEvent: async (event: Event) => {
        ring.push(event);
        return {};
      },
      updateMetric: async () => ({}),
      getRecentEvents: async () => ({ events: ring }),
    };
    const events = memoryEvents(memory, clock, silentLog);
    const told: Notice[] = [];
    const stop = new AbortController();
    const watch = events.watch(async (notice) => void told.push(notice), stop.signal);
    await events.push({ ...down, severity: "critical" });
    const alert = { id: "e", timestamp: clock.now(), category: "budget", source: "gateway", critical: true };
    ring.push(Event.fromPartial({ ...alert, dataJson: Buffer.from('{"subject":"claude"}') }));
    await clock.advance(60_000);
    stop.abort();
    await watch;
    expect(told).toEqual([
      { category: "budget", source: "gateway", severity: "critical", subject: "claude", detail: "" },
    ]);
  });
});

describe("the triggers", () => {
  it("of the image are right", () => {
    const { triggers, faults } = readTriggers(new URL("../../../rootfs/etc/aios/triggers", import.meta.url).pathname);
    expect(faults).toEqual([]);
    expect(triggers.map(({ name }) => name)).toContain("service-down");
  });
});

describe("how a cancelled goal is taken back", () => {
  const task = (id: string, tool: string, tries: number) =>
    ({ id, tool, tries, agent: "system", description: `do ${id}` }) as never;
  const goal = { tasks: [task("a", "fs.write", 1), task("b", "fs.read", 1), task("c", "fs.write", 0)] } as never;

  it("is told by what can be, the latest first, and not by what was done for good", async () => {
    const executions = (kept: boolean) => async (_: unknown, id: string) =>
      [1, 2, 3].map((n) => {
        const reversible = kept && id === "a" && n !== 2;
        return { id: `${id}${n}`, state: "done" as const, error: "", durationMs: 1, reversible };
      });
    const { words, executionIds } = await undoOf(goal, { executions: executions(true) });
    expect(executionIds).toEqual(["a3", "a1"]);
    expect(words.split("\n").at(-1)).toBe("aiosctl rollback a3 a1");
    expect(await undoOf(goal, { executions: executions(false) })).toEqual({ words: "", executionIds: [] });
  });

  it("is not told when the ledger cannot be asked, and that is said", async () => {
    const executions = () => Promise.reject(new Error("away"));
    expect(await undoOf(goal, { executions })).toMatchObject({
      words: expect.stringContaining("away"),
      executionIds: [],
    });
  });
});
