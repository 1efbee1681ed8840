import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { type Duty, type Findings, keepDuty, type Notice, type WatchedService, type Ways } from "./duty.ts";
import { monitor, oddness } from "./monitor.ts";
import { network } from "./network.ts";
import { security } from "./security.ts";
import { duties, startDuties } from "./start.ts";
import { storage } from "./storage.ts";
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

const start = (duty: Duty, random = () => 0) =>
  void keepDuty(duty, ways, { clock, log: silentLog, random, signal: stop.signal, onDuty: () => onDuty });
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

  it("is woken by what others notice, not more often than every second, and misses none", async () => {
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
    await clock.advance(900);
    expect(calls.length).toBe(before + 6);
  });

  it("is woken also before its first time", async () => {
    answers = well;
    const [wake] = system.wakes;
    if (wake === undefined) throw new Error("the system agent has no wake");
    start({ ...system, wakes: [{ ...wake, first: "spread" }] }, () => 1);
    await clock.advance(1_000);
    expect(calls).toEqual([]);
    for (const one of wakeAll) one();
    await clock.advance(1);
    expect(calls).toContain("self.health");
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
    ...{ name: "nginx", managed: true, enabled: true, wanted: true },
    ...{ status: "ready", reason: "" },
    ...more,
  });
  let services: object[];
  let list: object[];
  const watch = () => {
    answers = {
      ...well,
      ...answers,
      "service.list": () => ({ services }),
      "monitor.watchlist": () => ({ services: list }),
    };
    start(monitor);
  };
  const told = () => notices("service.down").map(({ subject, severity, detail }) => `${subject} ${severity} ${detail}`);

  beforeEach(() => {
    answers = {};
    [services, list] = [[unit({})], []];
  });

  it("notices a service that stands still at once, and when it is back", async () => {
    services = [unit({ status: "stopped", reason: "ended by SIGKILL" })];
    watch();
    await clock.advance(1_000);
    expect(told()).toEqual(["nginx critical stopped: ended by SIGKILL"]);
    services = [unit({})];
    await clock.advance(15_000);
    expect(told().at(-1)).toBe("nginx info ready");
  });

  it("looks a second time at one that init starts again", async () => {
    services = [unit({ status: "crash_loop", reason: "exit status 1" })];
    watch();
    await clock.advance(10_000);
    expect(told()).toEqual([]);
    await clock.advance(15_000);
    expect(told()).toEqual(["nginx critical crash_loop: exit status 1"]);
  });

  it.each(["starting", "waiting", "backoff", "stopping"])("leaves one that is %s to init", async (status) => {
    services = [unit({ status, reason: "r" })];
    watch();
    await clock.advance(60_000);
    expect(told()).toEqual([]);
  });

  it("leaves alone what a person has stopped, what nobody watches, and the daemons of aiOS", async () => {
    services = [
      unit({ status: "stopped", wanted: false }),
      unit({ status: "stopped", enabled: false, name: "a" }),
      unit({ status: "backoff", managed: false, name: "tools" }),
    ];
    list = [{ service: "nginx", url: "http://127.0.0.1/" }];
    watched = [{ name: "web", address: "127.0.0.1", port: 80, healthCheckPath: "/health", managedBy: "nginx" }];
    watch();
    await clock.advance(60_000);
    expect(told()).toEqual([]);
  });

  it("looks after what is on the watch list, though no boot starts it, until it is taken off", async () => {
    services = [unit({ status: "stopped", reason: "ended by SIGKILL", enabled: false })];
    list = [{ service: "nginx", url: "" }];
    watch();
    await clock.advance(1_000);
    expect(told()).toEqual(["nginx critical stopped: ended by SIGKILL"]);
    list = [];
    await clock.advance(60_000);
    expect(told().slice(1)).toEqual(["nginx info no longer looked after"]);
  });

  it("notices that a watched address does not answer, whatever an answer says", async () => {
    list = [{ service: "nginx", url: "http://127.0.0.1:80/" }];
    answers = { "net.http_request": { status: 502 } };
    watch();
    await clock.advance(60_000);
    expect(told()).toEqual([]);
    answers["net.http_request"] = () => {
      throw new Error("connection refused");
    };
    await clock.advance(16_000);
    expect(told()).toEqual([]);
    await clock.advance(15_000);
    expect(told()).toEqual(["nginx critical connection refused"]);
  });

  it("notices a registered service that runs and does not answer as it should", async () => {
    watched = [{ name: "web", address: "127.0.0.1", port: 80, healthCheckPath: "/health", managedBy: "nginx" }];
    answers = { "net.http_request": { status: 502 } };
    watch();
    await clock.advance(31_000);
    expect(notices("service.down")).toMatchObject([{ subject: "nginx", severity: "critical" }, {}]);
    expect(reports.flatMap(({ services: health }) => health)).toContainEqual({
      name: "web",
      healthy: false,
      detail: "http://127.0.0.1:80/health answers 502",
    });
  });

  it("takes a question that was not carried out for no answer", async () => {
    watched = [{ name: "web", address: "127.0.0.1", port: 80, healthCheckPath: "/health", managedBy: "nginx" }];
    answers = {
      "net.http_request": () => {
        throw new AiosError("RESOURCE_EXHAUSTED", "too many calls");
      },
    };
    watch();
    await clock.advance(60_000);
    expect(told()).toEqual([]);
    expect(reports.flatMap(({ services: health }) => health)).toEqual([]);
  });

  it("asks many in turn", async () => {
    watched = Array.from({ length: 25 }, (_, at) => ({
      ...{ name: `s${at}`, address: "127.0.0.1", port: 1_000 + at, healthCheckPath: "", managedBy: "" },
    }));
    answers = { "net.check_port": ({ port }) => ({ open: port !== 1_024 }) };
    watch();
    await clock.advance(1_000);
    expect(calls.filter((tool) => tool === "net.check_port")).toHaveLength(10);
    await clock.advance(90_000);
    expect(told()[0]).toBe("s24 critical port 1024 does not answer");
  });

  it("measures every 30 s", async () => {
    watch();
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

it("a duty calls by no execution id, so that the ledger counts what it repeats", async () => {
  const ids: (string | undefined)[] = [];
  const client = {
    report: async () => ({}),
    getWatchList: async () => ({ services: [] }),
    listen: async function* () {},
  } as unknown as ReturnType<Parameters<typeof startDuties>[1]>;
  startDuties(
    "monitor",
    () => client,
    async ({ executionId }) => {
      ids.push(executionId);
      return { success: true, output: Buffer.from("{}"), error: "", errorCode: "" };
    },
    { clock, log: silentLog, random: () => 0, signal: stop.signal, onDuty: () => true },
  );
  await expect.poll(() => ids.length).toBeGreaterThan(0);
  expect(new Set(ids)).toEqual(new Set([undefined]));
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

  it("storage tells of a volume that is mounted at many places once", async () => {
    const volume = { read_only: false, total_bytes: 100_000, files_total: 10 };
    const file_systems = [
      { ...volume, path: "/mnt/data", usage_percent: 86 },
      { ...volume, path: "/", usage_percent: 86.1 },
      { ...volume, path: "/srv/disk", usage_percent: 90, total_bytes: 200_000 },
    ];
    answers = { "storage.usage": { file_systems } };
    start(storage);
    await clock.advance(1_000);
    expect(notices("storage.full")).toMatchObject([
      { subject: "/mnt/data", severity: "warning", detail: "86.1 % used" },
      { subject: "/srv/disk", severity: "warning", detail: "90 % used" },
    ]);
  });
});
