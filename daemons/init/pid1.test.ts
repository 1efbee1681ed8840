/** The bundled init as PID 1 of name spaces, with a tiny root: what only a real PID 1 can show. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { consoleLines, daemons } from "#manifest";
import { InitService, type Unit, UnitState } from "#proto/aios/init";
import { makeTinyRoot, startTinyMachine, type TinyMachine } from "./testing/tiny-root.ts";

let folder: string;
let machine: TinyMachine;
let init: Client<typeof InitService>;

const pathTo = (name: string) => join(folder, name);
const socketOf = (booted: TinyMachine) =>
  connect(InitService, `unix:${booted.path(socketPath("/run/aios", "init", "ctl"))}`);
const start = (options?: string) => startTinyMachine(pathTo("root"), pathTo("data"), pathTo("provision"), options);

beforeAll(async () => {
  folder = mkdtempSync("/tmp/aios-pid1-");
  for (const name of ["data", "provision"]) mkdirSync(pathTo(name));
  writeFileSync(
    pathTo("provision/provision.toml"),
    'hostname = "provisioned"\n[network]\naddress = "10.77.0.2/30"\ngateway = "10.77.0.1"\n',
  );
  writeFileSync(pathTo("provision/machine.key"), "a key");
  await makeTinyRoot(pathTo("root"));
  machine = await start("aios.system.log_level=debug");
  await machine.says(consoleLines.ready);
  init = socketOf(machine);
});

afterAll(async () => {
  init?.close();
  if (machine !== undefined && existsSync(`/proc/${machine.pid}`)) machine.signal("SIGKILL");
  await machine?.ended;
  rmSync(folder, { recursive: true, force: true });
});

async function eventually<T>(look: () => T | Promise<T>, wanted: (found: T) => boolean, timeoutMs = 8_000): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (wanted(found) || performance.now() > giveUpAt) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The processes of the machine, by their PID on the host. */
function processesOf({ pid }: TinyMachine): { pid: number; state: string; name: string }[] {
  const space = readlinkSync(`/proc/${pid}/ns/pid`);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (readlinkSync(`/proc/${name}/ns/pid`) !== space) return [];
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").join(" ");
        return [{ pid: Number(name), state: stat.slice(stat.lastIndexOf(")") + 2)[0] ?? "", name: command }];
      } catch {
        return [];
      }
    });
}

describe("PID 1", () => {
  it("tells the boot as a story, the six phases in order", () => {
    const lines = machine.console().split("\n");
    expect(lines[0]).toMatch(new RegExp(`^${consoleLines.firstJavascript}, \\d+ ms after kernel start$`));
    const phases = lines.flatMap((line) => /^phase (\d)\/6 (\w+): ready, \d+ ms$/.exec(line)?.slice(1) ?? []);
    expect(phases).toEqual("1 hardware 2 runtime 3 core 4 agents 5 recovery 6 autonomy".split(" "));
    expect(machine.console()).toMatch(/^aiOS is autonomous, \d+\.\d s after kernel start$/m);
  });

  it("cannot set the kernel that it shares with its host, but for its own network", () => {
    const inside = (path: string) =>
      execFileSync(
        "nsenter",
        [
          "--target",
          `${machine.pid}`,
          "--mount",
          "--pid",
          "--net",
          "--root",
          "--",
          "/bin/sh",
          "-c",
          'test -w "$1" && echo open || echo closed',
          "sh",
          path,
        ],
        { encoding: "utf8" },
      ).trim();
    for (const path of [
      "/proc/sys/kernel/kptr_restrict",
      "/proc/sys/vm/swappiness",
      "/proc/sysrq-trigger",
      "/sys/kernel/mm",
    ])
      expect(inside(path), path).toBe("closed");
    expect(inside("/proc/sys/net/ipv4/ip_forward")).toBe("open");
  });

  it("serves units, boot and hardware over its socket", async () => {
    const { units } = await init.listUnits({});
    expect(units.map(({ name }) => name)).toEqual(daemons.map(({ name }) => name));
    for (const unit of units) {
      expect(unit).toMatchObject({ state: UnitState.UNIT_READY, restarts: 0 });
      expect(unit.memoryBytes).toBeGreaterThan(10e6);
      expect(unit.readyAfterMs).toBeGreaterThan(0);
      expect(unit.cpuMs).toBeGreaterThan(0);
    }
    const boot = await init.getBoot({});
    expect(boot.phases.map(({ state }) => state)).toEqual(Array(6).fill("ready"));
    expect(boot.autonomyMs).toBeGreaterThan(boot.firstJavascriptMs);
    expect(Math.abs(boot.kernelStartAt + boot.autonomyMs - Date.now())).toBeLessThan(60_000);
    expect(boot).toMatchObject({ version: "0.0.0-test" });
    const hardware = JSON.parse((await init.getHardware({})).hardwareJson.toString());
    expect(hardware.cpu.cores).toBeGreaterThan(0);
    expect(hardware.ramBytes).toBeGreaterThan(500e6);
  });

  it("keeps what was changed on the data volume, and the image as it was", () => {
    expect(readFileSync(machine.path("/etc/changed-here"), "utf8")).toBe("by tools");
    expect(existsSync(pathTo("root/etc/changed-here"))).toBe(false);
    expect(readFileSync(pathTo("data/overlay/upper/etc/changed-here"), "utf8")).toBe("by tools");
    expect(existsSync(pathTo("data/state/memory/starts"))).toBe(true);
  });

  it("runs each unit as its user and hands the console its keys", async () => {
    const logs = await readAll(init.readLogs({ unit: "memory", lines: 0, follow: false }));
    expect(logs.map(({ text }) => text)).toContain("memory: start 1 as user 902");
    expect(readFileSync(machine.path("/run/aios/provision/machine.key"), "utf8")).toBe("a key");
    const config = JSON.parse(readFileSync(machine.path("/run/aios/config.json"), "utf8"));
    expect(config.system.log_level).toBe("debug");
  });

  it("shows what the console daemon asks to be shown, without its control characters, and nobody else's", async () => {
    await machine.says("enrolment code");
    expect(machine.console()).toContain("enrolment code  [2JABCD\n");
    expect(machine.console()).not.toContain("the gateway may not speak");
  });

  it("reads the machine's keyboard for the console alone, and says where there is none", async () => {
    const console = connect(InitService, `unix:${machine.path(socketPath("/run/aios", "init", "console"))}`);
    const watched = (by: typeof console, headers = {}) => readAll(by.watchKeyboard({ word: "code" }, { headers }));
    await expect(watched(init)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const admin = { "x-aios-operator": "alice", "x-aios-role": "admin" };
    await expect(watched(console, admin)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(watched(console)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("read this machine's keyboard: ENOENT"),
    });
    console.close();
  });

  it("reaps the orphans it inherits and leaves its own children to libuv", async () => {
    const orphan = () => readFileSync(machine.path("/var/lib/aios/memory/orphan"), "utf8");
    const pid = await eventually(
      () => (existsSync(machine.path("/var/lib/aios/memory/orphan")) ? orphan() : ""),
      Boolean,
    );
    expect(Number(pid)).toBeGreaterThan(1);
    const there = () => existsSync(machine.path(`/proc/${pid}`));
    expect(await eventually(there, (found) => !found)).toBe(false);
    expect(processesOf(machine).filter(({ state }) => state === "Z")).toEqual([]);
    expect((await init.getUnit({ name: "memory" })).state).toBe(UnitState.UNIT_READY);
  });

  it("starts a killed unit again, in a watcher's sight", async () => {
    const { pid, restarts } = await init.getUnit({ name: "gateway" });
    const watch = new AbortController();
    const seen: Unit[] = [];
    const watching = (async () => {
      for await (const unit of init.watchUnits({}, { signal: watch.signal })) seen.push(unit);
    })().catch(() => {});
    await eventually(
      () => seen.length,
      (count) => count >= daemons.length,
    );
    const host = processesOf(machine).find(({ name }) => name.includes("gateway.cjs"));
    process.kill(host?.pid ?? 0, "SIGKILL");
    const back = await eventually(
      () => init.getUnit({ name: "gateway" }),
      (unit) => unit.state === UnitState.UNIT_READY && unit.pid !== pid,
    );
    expect(back.restarts).toBe(restarts + 1);
    watch.abort();
    await watching;
    const states = seen.filter(({ name }) => name === "gateway").map(({ state }) => state);
    expect(states).toContain(UnitState.UNIT_BACKOFF);
    expect(states.at(-1)).toBe(UnitState.UNIT_READY);
    expect(machine.console()).toContain("gateway: ended by SIGKILL; starts again");
  });

  it("stops a unit after those that need it, and starts both again", async () => {
    expect(await init.stopUnit({ name: "memory" })).toMatchObject({ state: UnitState.UNIT_STOPPED, pid: 0 });
    expect(await init.getUnit({ name: "orchestrator" })).toMatchObject({ state: UnitState.UNIT_STOPPED });
    expect(await init.startUnit({ name: "orchestrator" })).toMatchObject({ state: UnitState.UNIT_READY });
    expect(await init.getUnit({ name: "memory" })).toMatchObject({ state: UnitState.UNIT_READY });
    const before = await init.getUnit({ name: "tools" });
    const after = await init.restartUnit({ name: "tools" });
    expect(after).toMatchObject({ state: UnitState.UNIT_READY });
    expect(after.pid).not.toBe(before.pid);
  });

  it("follows logs, and refuses what makes no sense", async () => {
    const stop = new AbortController();
    const lines: string[] = [];
    const following = (async () => {
      const request = { unit: "", lines: 5, follow: true };
      for await (const { text } of init.readLogs(request, { signal: stop.signal })) lines.push(text);
    })().catch(() => {});
    await eventually(
      () => lines.length,
      (count) => count >= 5,
    );
    await init.restartUnit({ name: "console" });
    await eventually(
      () => lines.join(),
      (text) => text.includes('"ending"'),
    );
    stop.abort();
    await following;
    expect(lines.join()).toContain('"ending"');
    await expect(readAll(init.readLogs({ unit: "nobody", lines: 0, follow: false }))).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    await expect(readAll(init.readLogs({ unit: "", lines: -1, follow: false }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(init.startUnit({ name: "nobody" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("ends in order when told to, unmounts, and keeps its data for the next boot", async () => {
    expect(await init.shutdown({ reason: "the test is over" })).toMatchObject({ success: true });
    await machine.says("power-off, asked by operator root: the test is over");
    await machine.says(consoleLines.powerOff);
    await machine.ended;
    expect(existsSync(`/proc/${machine.pid}`)).toBe(false);
    expect(machine.console()).not.toContain("survived");
    init.close();
    machine = await start();
    await machine.says(consoleLines.ready);
    init = socketOf(machine);
    expect(readFileSync(machine.path("/var/lib/aios/memory/starts"), "utf8").length).toBeGreaterThan(1);
    expect(readFileSync(pathTo("data/log/init.log"), "utf8")).toContain("the test is over");
    machine.signal("SIGUSR2");
    await machine.says(consoleLines.powerOff);
    await machine.ended;
  });

  it("falls back to the last good configuration, says so, and works", async () => {
    const config = pathTo("data/overlay/upper/etc/aios/config.toml");
    mkdirSync(join(config, ".."), { recursive: true });
    const good = readFileSync(pathTo("root/etc/aios/config.toml"), "utf8").replace(
      /hostname = ".*"/,
      'hostname = "kept"',
    );
    writeFileSync(config, good);
    await bootAndEnd("aios.provision=dir:/nowhere", () => {});
    writeFileSync(config, `${good}\n[network\n`);
    await bootAndEnd("aios.provision=dir:/nowhere", async (booted, client) => {
      const { state, faults, autonomyMs } = await client.getBoot({});
      expect(state).toBe("degraded");
      expect(autonomyMs).toBeGreaterThan(0);
      expect(faults.join()).toMatch(/config\.toml:\d+.*in effect is the last good one/);
      expect(JSON.parse(readFileSync(booted.path("/run/aios/config.json"), "utf8")).system.hostname).toBe("kept");
      await booted.says(consoleLines.degraded);
    });
    rmSync(config);
  });

  it("boots without the overlay, with its data", async () => {
    await bootAndEnd(
      "aios.overlay=off",
      async (booted) => {
        expect(readFileSync(booted.path("/var/lib/aios/memory/starts"), "utf8")).toMatch(/^x+$/);
        expect(existsSync(booted.path("/etc/changed-here"))).toBe(false);
      },
      false,
    );
  });
});

async function bootAndEnd(
  options: string,
  look: (booted: TinyMachine, client: Client<typeof InitService>) => Promise<void> | void,
  ready = true,
): Promise<void> {
  machine = await start(options);
  await machine.says(ready ? consoleLines.ready : "phase 1/6 hardware: ready");
  const client = socketOf(machine);
  await look(machine, client);
  client.close();
  machine.signal("SIGUSR2");
  await machine.says(consoleLines.powerOff, 25_000);
  await machine.ended;
}

async function readAll<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of stream) all.push(item);
  return all;
}
