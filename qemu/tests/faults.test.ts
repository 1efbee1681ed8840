import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { consoleLines } from "#manifest";
import { type Boot, InitService, type Unit, UnitState } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { makeVolume } from "../disks.ts";
import { executeTool, followGoal, submitGoal } from "../goal.ts";
import { bootTimeoutMs, type Machine } from "../machine.ts";
import { allAgents, type Fleet, type FleetSpec, laneRuns, useFleet } from "./fleet.ts";

/** Long enough for a loop to show. */
const watchMs = 5_000;
/** Starts of one unit within `watchMs` that are retries with back-off; a loop has tens. */
const retriesMax = 6;

/** Where a folder that stands for the data partition has what lies over the root, as init lays it out. */
const overlay = (folder: string, path: string) => join(folder, "data/overlay/upper", path);

describe.runIf(laneRuns("native"))("faults, in the native lane", () => {
  const fleet = useFleet();

  it("an unreadable configuration: the last good one is used, and the fault names file, line and key", async () => {
    const spec = { lane: "native", name: "config", data: "folder" } as const;
    const file = overlay(fleet.folder(spec.name), "etc/aios/config.toml");
    const good = readFileSync(join(fleet.images.rootTree, "etc/aios/config.toml"), "utf8");
    put(file, good.replace(/log_level = "\w+"/, 'log_level = "debug"'));
    await (await fleet.boot(spec)).powerOff();

    put(file, good.replace(/log_level = "\w+"/, 'log_level = "loud"'));
    const machine = await settled(fleet, spec);
    const { boot } = await state(machine);
    expect(boot.faults.join("\n")).toMatch(/\/etc\/aios\/config\.toml:\d+.*system\.log_level/);
    expect(machine.console.lines.some(({ text }) => text.includes("system.log_level"))).toBe(true);
    await expectDoes(machine);
    await expectCalm(machine);
    // What was good, not what the image has, is in effect.
    const effective = (await executeTool(machine, "fs.read", { path: "/run/aios/config.json" }, "test")) as {
      content: string;
    };
    expect(JSON.parse(effective.content)).toMatchObject({ system: { log_level: "debug" } });
    await machine.powerOff();
  });

  it("a configuration that is no TOML at all, and no last good one: the image's is used", async () => {
    const spec = { lane: "native", name: "config-first", data: "folder" } as const;
    put(overlay(fleet.folder(spec.name), "etc/aios/config.toml"), "\u0000\u0001 this is not TOML");
    const machine = await settled(fleet, spec);
    expect((await state(machine)).boot.faults.join("\n")).toContain("/etc/aios/config.toml");
    await expectDoes(machine);
    await machine.powerOff();
  });

  it("a truncated model: degraded, says which file and what to do, and all the rest works", async () => {
    const spec = { lane: "native", name: "model", data: "folder" } as const;
    const config = readFileSync(join(fleet.images.rootTree, "etc/aios/config.toml"), "utf8");
    const model = /^\[models\.operational\][^[]*?^name = "([^"]+)"/m.exec(config)?.[1] ?? "";
    const whole = readFileSync(join(fleet.images.rootTree, "usr/share/aios/models", model));
    put(overlay(fleet.folder(spec.name), `usr/share/aios/models/${model}`), whole.subarray(0, 4096));
    const machine = await settled(fleet, spec);
    const { boot, units } = await state(machine);
    expect(boot.state).toBe("degraded");
    expect(boot.phases.find(({ name }) => name === "runtime")?.state).toBe("degraded");
    expect(boot.faults.join("\n")).toContain(model);
    expect(machine.console.lines.some(({ text }) => text.includes(consoleLines.degraded))).toBe(true);
    expect(units.filter(({ state }) => state === UnitState.UNIT_READY).map(({ name }) => name)).toEqual(
      expect.arrayContaining(["memory", "tools", "orchestrator", "console", "gateway"]),
    );
    await expectDoes(machine);
    await expectCalm(machine);
    await machine.powerOff();
  });

  it("a full data partition: says so, and is well again once there is room", async () => {
    const disk = join(fleet.folder("full-disk"), "data.ext4");
    mkdirSync(dirname(disk), { recursive: true });
    makeVolume(disk, 192 * 1024 * 1024);
    const spec = { lane: "native", name: "full", data: disk } as const;
    await (await fleet.boot(spec)).powerOff();

    onDisk(
      disk,
      'dd if=/dev/zero of="$1/state/filler" bs=1M 2>/dev/null || true; dd if=/dev/zero of="$1/state/filler2" bs=1 2>/dev/null || true',
    );
    const full = await settled(fleet, spec, /data volume: full/);
    await expectReadsButRefuses(full);
    expect((await state(full)).boot.faults.join("\n")).toMatch(/data volume: full.*make room/);
    await expectCalm(full);
    await full.powerOff();

    onDisk(disk, 'rm "$1/state/filler" "$1/state/filler2"');
    const machine = await fleet.boot(spec);
    await expectDoes(machine);
    await machine.powerOff();
  });
});

describe.runIf(laneRuns("qemu"))("faults, in QEMU", () => {
  const fleet = useFleet();

  it("a missing data disk: works from memory, and says so", async () => {
    const machine = await settled(fleet, { lane: "qemu", name: "no-disk", data: "none" });
    const { boot } = await state(machine);
    expect(boot.faults.join("\n")).toMatch(/data/);
    await expectDoes(machine);
    await expectCalm(machine);
    await machine.powerOff();
  });

  it("a data disk that cannot be read: not one byte of it is written", async () => {
    const disk = join(fleet.folder("foreign-disk"), "data.raw");
    mkdirSync(dirname(disk), { recursive: true });
    blank(disk, 64 * 1024 * 1024);
    const before = foreign(disk);
    const machine = await settled(fleet, { lane: "qemu", name: "foreign", data: disk });
    const { boot } = await state(machine);
    expect(boot.faults.join("\n")).toMatch(/data volume.*erase|erase.*data volume/);
    await expectCalm(machine);
    await machine.powerOff();
    expect(readFileSync(disk).equals(before)).toBe(true);
  });
});

function put(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, data);
}

function blank(path: string, bytes: number): void {
  const file = openSync(path, "w");
  ftruncateSync(file, bytes);
  closeSync(file);
}

/** Fills a disk with what is no file system, and gives back its content. */
function foreign(path: string): Buffer {
  const file = openSync(path, "r+");
  for (let at = 0; at < 64; at++) writeSync(file, Buffer.alloc(512, `precious ${at} `), 0, 512, at * 1024 * 1024);
  closeSync(file);
  return readFileSync(path);
}

/** Runs a script on a disk's file system, mounted in a name space of its own: nothing stays mounted. */
function onDisk(disk: string, script: string): void {
  const mount = 'set -e; mkdir -p "$2"; mount -o loop "$1" "$2"; sh -c "$3" sh "$2"; umount "$2"';
  const args = ["--mount", "--propagation", "private", "sh", "-c", mount, "sh", disk, `${disk}.mnt`, script];
  execFileSync("unshare", args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** How a boot ends: either way. */
const bootEnds = new RegExp(`${consoleLines.ready}|${consoleLines.degraded}`);

/** Boots a machine that has a fault, until it says so and port 9090 answers. */
async function settled(fleet: Fleet, spec: FleetSpec, says = bootEnds): Promise<Machine> {
  const machine = await fleet.start(spec);
  await machine.waitFor(says, bootTimeoutMs[spec.lane]);
  await machine.reached(60_000);
  return machine;
}

async function state(machine: Machine): Promise<{ boot: Boot; units: Unit[] }> {
  const init = machine.client(InitService);
  try {
    return { boot: await init.getBoot({}), units: (await init.listUnits({})).units };
  } finally {
    init.close();
  }
}

/** The fault keeps nobody from working: a goal is done. */
async function expectDoes(machine: Machine): Promise<void> {
  const id = await submitGoal(machine, "report disk usage to /var/lib/aios/reports/disk.txt");
  const { goal } = await followGoal(machine, id, 60_000);
  expect(goal).toMatchObject({ status: "completed" });
}

/** Its daemons answer, and what could not be made durable is refused. */
async function expectReadsButRefuses(machine: Machine): Promise<void> {
  const orchestrator = machine.client(OrchestratorService);
  const agents = async () => (await orchestrator.listAgents({})).agents.length;
  await expect.poll(agents, { timeout: 30_000 }).toBe(allAgents.length);
  orchestrator.close();
  const refused = submitGoal(machine, "report disk usage to /var/lib/aios/reports/disk.txt");
  await expect(refused).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
}

/** No panic, no loop: the machine lives, printed its first line once, and starts nothing again and again. */
async function expectCalm(machine: Machine): Promise<void> {
  const restarts = async () => new Map((await state(machine)).units.map((unit) => [unit.name, unit.restarts]));
  const before = await restarts();
  await delay(watchMs);
  for (const [name, count] of await restarts())
    expect(count - (before.get(name) ?? 0), name).toBeLessThanOrEqual(retriesMax);
  const lines = machine.console.lines.map(({ text }) => text);
  expect(lines.filter((text) => text.includes(consoleLines.firstJavascript))).toHaveLength(1);
  expect(lines.join("\n")).not.toContain("Kernel panic");
}
