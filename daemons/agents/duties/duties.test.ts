import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { type Duty, type Findings, keepDuty, type Notice, type WatchedService, type Ways } from "./duty.ts";
import { monitor, oddness } from "./monitor.ts";
import { network, security, storage } from "./others.ts";
import { duties } from "./start.ts";
import { system } from "./system.ts";

type Answer = object | ((input: Record<string, unknown>) => object);

let clock: ManualClock;
let stop: AbortController;
let reports: Findings[];
let calls: string[];
let answers: Record<string, Answer>;
let watched: WatchedService[];
let onDuty: boolean;
let wakeAll: (() => void)[];

beforeEach(() => {
  clock = new ManualClock();
  stop = new AbortController();
  reports = [];
  calls = [];
  watched = [];
  wakeAll = [];
  onDuty = true;
});

afterEach(() => stop.abort());

const ways: Ways = {
  async call(tool, input) {
    calls.push(tool);
    const answer = answers[tool];
    if (answer === undefined) throw new Error(`${tool} fails`);
    return (typeof answer === "function" ? answer(input as Record<string, unknown>) : answer) as Record<
      string,
      unknown
    >;
  },
  report: async (findings) => void reports.push(findings),
  services: async () => watched,
  listen: async (_, wake) => void wakeAll.push(wake),
};

const start = (duty: Duty) =>
  void keepDuty(duty, ways, { clock, log: silentLog, random: () => 0, signal: stop.signal, onDuty: () => onDuty });
const notices = (category: string): Notice[] =>
  reports.flatMap((report) => report.notices).filter((notice) => notice.category === category);

const well = {
  "self.health": { issues: [], disk_usage_percent: 10, services: [] },
  "monitor.cpu": { percent: 5 },
  "monitor.memory": { percent: 20 },
  "monitor.disk": { percent: 10 },
};

describe("each of the eight", () => {
  it.each(duties.map((duty) => [duty.name, duty] as const))(
    "%s has what its file gives it, and calls nothing else",
    (name, duty) => {
      const file = readFileSync(new URL(`../../../rootfs/etc/aios/agents/${name}.toml`, import.meta.url), "utf8");
      const standing = /^standing = \[([^\]]*)\]$/m.exec(file)?.[1] ?? "";
      expect(duty.wakes.length > 0).toBe(standing !== "");
      expect(duty.purpose.length * duty.brief.length).toBeGreaterThan(0);
      expect(duties).toHaveLength(8);
    },
  );
});

describe("a duty", () => {
  it("is not done off duty, and is done at once when it is on", async () => {
    answers = well;
    onDuty = false;
    start(system);
    await clock.advance(60_000);
    expect(calls).toEqual([]);
    onDuty = true;
    await clock.advance(1_000);
    expect(calls).toContain("self.health");
  });

  it("goes on after a tool has failed", async () => {
    answers = {};
    start(system);
    await clock.advance(1_000);
    expect(reports).toEqual([]);
    answers = { ...well, "monitor.cpu": { percent: 99 } };
    await clock.advance(30_000);
    expect(notices("system.cpu")).toMatchObject([{ severity: "critical", detail: "99 % used" }]);
  });

  it("is woken by what others notice, and not more often than every two seconds", async () => {
    answers = well;
    start(system);
    await clock.advance(3_000);
    const before = calls.length;
    for (const wake of wakeAll) wake();
    await clock.advance(100);
    expect(calls.length).toBe(before + 3);
    for (const wake of wakeAll) wake();
    await clock.advance(100);
    expect(calls.length).toBe(before + 3);
  });
});

describe("the system agent", () => {
  it("tells a limit once when it is passed, and once when it is well again", async () => {
    answers = { ...well, "monitor.memory": { percent: 85 } };
    start(system);
    await clock.advance(100_000);
    expect(notices("system.memory")).toMatchObject([{ severity: "warning" }]);
    answers = well;
    await clock.advance(31_000);
    expect(notices("system.memory")).toMatchObject([{ severity: "warning" }, { severity: "info" }]);
  });
});

describe("the monitor agent", () => {
  const unit = (more: object) => ({
    name: "nginx",
    managed: true,
    enabled: true,
    status: "ready",
    reason: "",
    ...more,
  });

  it("notices an enabled service that is down the second time, and when it is back", async () => {
    let services = [unit({ status: "crash_loop", reason: "exit status 1" })];
    answers = { ...well, "service.list": () => ({ services }) };
    start(monitor);
    await clock.advance(10_000);
    expect(notices("service.down")).toEqual([]);
    await clock.advance(15_000);
    expect(notices("service.down")).toMatchObject([{ severity: "critical", subject: "nginx" }]);
    services = [unit({})];
    await clock.advance(15_000);
    expect(notices("service.down").at(-1)).toMatchObject({ severity: "info", detail: "ready" });
  });

  it("leaves alone what a person has stopped, what is not enabled, and the daemons of aiOS", async () => {
    const services = [
      unit({ status: "stopped", reason: "stopped on demand" }),
      unit({ status: "backoff", enabled: false, name: "a" }),
      unit({ status: "backoff", managed: false, name: "tools" }),
    ];
    answers = { ...well, "service.list": { services } };
    start(monitor);
    await clock.advance(60_000);
    expect(notices("service.down")).toEqual([]);
  });

  it("notices a registered service that runs and does not answer as it should", async () => {
    watched = [{ name: "web", address: "127.0.0.1", port: 80, healthCheckPath: "/health", managedBy: "nginx" }];
    answers = { ...well, "service.list": { services: [unit({})] }, "net.http_request": { status: 502 } };
    start(monitor);
    await clock.advance(31_000);
    expect(notices("service.down")).toMatchObject([{ subject: "nginx", severity: "critical" }, {}]);
    expect(reports.flatMap(({ services }) => services)).toContainEqual({
      name: "web",
      healthy: false,
      detail: "http://127.0.0.1:80/health answers 502",
    });
  });

  it("measures every 30 s", async () => {
    answers = { ...well, "service.list": { services: [] } };
    start(monitor);
    await clock.advance(89_000);
    const cpu = reports.flatMap(({ metrics }) => metrics).filter(({ key }) => key === "cpu.percent");
    expect(cpu).toHaveLength(3);
  });

  it.each([
    ["too few", [1, 1, 90], undefined],
    ["like before", [...Array(30).fill(50), 52], undefined],
    ["far off", [...Array(30).fill(50), 95], "95.0, usually 50.0 ± 0.0"],
    ["as wild as ever", [...Array(30).keys()].map((n) => (n % 2) * 100).concat(100), undefined],
  ])("judges measurements that are %s", (_, values, odd) => {
    expect(oddness(values as number[])).toBe(odd);
  });
});

describe("the others", () => {
  it("network asks its gateway and nobody else, and nobody without one", async () => {
    let gateway = "";
    answers = { "net.route_list": () => ({ routes: [{ destination: "default", gateway }] }) };
    start(network);
    await clock.advance(10_000);
    expect(calls).toEqual(["net.route_list"]);
    gateway = "10.0.0.1";
    await clock.advance(60_000);
    expect(calls.at(-1)).toBe("net.ping");
    expect(notices("network.gateway")).toMatchObject([{ severity: "warning" }]);
  });

  it("security tells a ledger that is not right, and an agent that is refused often", async () => {
    const entry = { at: 5, caller: "dev", caller_kind: "agent", state: "refused" };
    answers = {
      "sec.audit": { entries: Array(12).fill(entry) },
      "sec.verify_ledger": { valid: false, problems: ["entry 3 was edited"] },
      "sec.scan": { risk_level: "low", total: 1 },
    };
    start(security);
    await clock.advance(1_000);
    expect(notices("security.ledger")).toMatchObject([{ severity: "critical", detail: '["entry 3 was edited"]' }]);
    expect(notices("security.refusals")).toMatchObject([{ severity: "warning", subject: "dev" }]);
  });

  it("storage tells what is nearly full, and not the image's own root", async () => {
    const file_systems = [
      { path: "/", usage_percent: 100, read_only: true },
      { path: "/mnt/data", usage_percent: 96, read_only: false },
    ];
    answers = { "storage.usage": { file_systems } };
    start(storage);
    await clock.advance(1_000);
    expect(notices("storage.full")).toMatchObject([{ subject: "/mnt/data", severity: "critical" }]);
  });
});
