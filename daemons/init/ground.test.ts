/** Phase 1's parts: provisioning, clock, watchdog, mounts; and the order of an end. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { consoleLines, daemons, users } from "#manifest";
import { openFaults } from "./base/faults.ts";
import { agentNames, machineFolders, makeFolders } from "./base/folders.ts";
import { takeProvision } from "./base/provision.ts";
import type { Syscalls } from "./base/syscalls.ts";
import { kernelMounts, mountKernelFiles } from "./disks/mounts.ts";
import { mountsOf } from "./disks/root.ts";
import type { Screen } from "./early/screen.ts";
import { listenForPowerButton, wasPressed } from "./power/power-button.ts";
import { endMachine } from "./power/shutdown.ts";
import { startWatchdog } from "./power/watchdog.ts";
import { bootClock, markTime, setClock } from "./time/timekeeping.ts";

let folder: string;
let said: string[];
let screen: Screen;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-ground-");
  said = [];
  screen = { say: (line) => said.push(line), fault: (act, error) => said.push(`fault: ${act}: ${error}`), onLine() {} };
});
afterEach(() => rmSync(folder, { recursive: true }));

const inFolder = (name: string) => join(folder, name);

describe("provisioning", () => {
  const provision = (text: string) => {
    writeFileSync(inFolder("provision.toml"), text);
    return takeProvision(folder, inFolder("taken"));
  };

  it("hands over host name and network, and the console's files to the console alone", () => {
    for (const name of ["ca.pem", "machine.pem", "machine.key", "other"]) writeFileSync(inFolder(name), name);
    const toml = 'hostname = "box-1"\n[network]\naddress = "10.1.2.3/30"\ngateway = "10.1.2.1"\n';
    expect(provision(toml)).toEqual({
      hostname: "box-1",
      network: { address: "10.1.2.3/30", gateway: "10.1.2.1" },
    });
    const key = statSync(inFolder("taken/machine.key"));
    expect([key.mode & 0o777, key.uid]).toEqual([0o400, users["aios-console"].uid]);
    expect(statSync(inFolder("taken")).mode & 0o777).toBe(0o750);
    expect(existsSync(inFolder("taken/other"))).toBe(false);
  });

  it("may hold less, or nothing", () => {
    expect(takeProvision(inFolder("nowhere"), inFolder("taken"))).toEqual({});
    expect(provision("[network]\naddress = '10.0.0.1/8'")).toEqual({ network: { address: "10.0.0.1/8" } });
  });

  it.each([
    ['hostname = "Bad_Name"', "hostname"],
    ["hostname = 5", "hostname"],
    ['hostname = "2000"', "not of digits alone"],
    ['hostname = "0x7f"', "not of digits alone"],
    ['[network]\naddress = "10.1.2.3"', "network.address"],
    ['[network]\naddress = "10.1.2.300/24"', "network.address"],
    ['[network]\naddress = "10.1.2.3/24 dev lo"', "network.address"],
    ['[network]\naddress = "10.1.2.3/24\\nlink delete eth0"', "network.address"],
    ['[network]\naddress = "10.1.2.3/24"\ngateway = "x"', "network.gateway"],
    ["network = 1", "network.address"],
    ["[[", "provision.toml"],
    [`x = "${"y".repeat(70_000)}"`, "at most"],
  ])("is refused naming the key: %s", (toml, named) => {
    expect(() => provision(toml.slice(0, 80_000))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(named) }),
    );
  });
});

describe("time", () => {
  const hardwareMs = Date.UTC(2027, 0, 1);
  const floorMs = Date.UTC(2026, 10, 1);
  const start = async (nowMs: number, passed?: number) => {
    const clock = new ManualClock(nowMs);
    const set: number[] = [];
    const faults = openFaults();
    const syscalls = { setTime: (ms: number) => set.push(ms) };
    const needs = { clock, syscalls, faults, screen, floorMs, mark: inFolder("clock"), passed: async () => passed };
    return { ...(await setClock(needs)), set, faults: faults.list() };
  };

  it("does not run backwards over a boot", async () => {
    expect(await start(hardwareMs)).toMatchObject({ set: [], faults: [], detail: "by the hardware clock" });
    markTime(inFolder("clock"), new ManualClock(hardwareMs), openFaults());
    expect(await start(hardwareMs + 5)).toMatchObject({ set: [], faults: [] });
    expect(await start(hardwareMs - 5_000)).toMatchObject({ set: [hardwareMs], faults: [] });
    expect(said.at(-1)).toBe("aios-init: clock set to 2027-01-01T00:00:00.000Z, by the last shutdown");
  });

  it("begins when the image was made, or the machine was provisioned, where its clock has stopped", async () => {
    const bare = await start(0);
    expect(bare.set).toEqual([floorMs]);
    expect(bare.faults).toEqual([
      expect.stringMatching(/^clock: .*1970-01-01.*; going on with 2026-11-01T.*ntp_servers/),
    ]);
    const later = await start(0, hardwareMs);
    expect(later.set).toEqual([hardwareMs]);
    expect(later.state).toMatchObject({ sure: false, earliestMs: hardwareMs });
    expect((await start(hardwareMs, floorMs + 9e12)).set).toEqual([]);
  });

  it("is not set ahead by a mark of a clock that was ahead once", async () => {
    markTime(inFolder("clock"), new ManualClock(Date.UTC(2040, 0, 1)), openFaults());
    const started = await start(hardwareMs);
    expect(started).toMatchObject({ set: [], detail: "by the hardware clock" });
    expect(started.faults[0]).toMatch(/mark of the last shutdown says 2040-01-01/);
  });

  it("is marked whatever stands in the mark's place, and says what cannot be", async () => {
    const faults = openFaults();
    const mark = () => markTime(inFolder("clock"), new ManualClock(hardwareMs), faults);
    for (const place of [
      () => mkdirSync(inFolder("clock")),
      () => writeFileSync(inFolder("clock"), Buffer.alloc(5_000, 0xff)),
      () => symlinkSync("clock.real", inFolder("clock")),
    ]) {
      place();
      mark();
      expect((await start(hardwareMs - 5_000)).set).toEqual([hardwareMs]);
      rmSync(inFolder("clock"), { recursive: true });
    }
    expect(faults.list()).toEqual([]);
    symlinkSync("clock", inFolder("clock"));
    mark();
    expect(faults.list()).toEqual([expect.stringMatching(/^mark the time in .*clock: ELOOP.*; without it/)]);
    expect((await start(hardwareMs)).set).toEqual([]);
    rmSync(inFolder("clock"));
    mark();
    expect(faults.list()).toEqual([]);
  });

  it("counts from kernel start", () => {
    const now = Number(process.hrtime.bigint() / 1_000_000n);
    expect(bootClock(now - 500).monotonic()).toBeGreaterThanOrEqual(499);
    expect(bootClock(now - 500).monotonic()).toBeLessThan(5_000);
  });
});

describe("the watchdog", () => {
  it("is armed and petted, and disarmed by the magic character", () => {
    const device = inFolder("watchdog");
    writeFileSync(device, "");
    const timeouts: number[] = [];
    const syscalls = { setWatchdogTimeout: (_: number, seconds: number) => timeouts.push(seconds) };
    const watchdog = startWatchdog(device, syscalls as unknown as Syscalls);
    expect([timeouts, readFileSync(device, "utf8")]).toEqual([[60], "."]);
    watchdog.disarm();
    expect(readFileSync(device, "utf8")).toBe(".V");
    expect(() => startWatchdog(inFolder("none"), syscalls as unknown as Syscalls)).toThrow(/ENOENT/);
  });
});

describe("the power button", () => {
  const event = (type: number, code: number, value: number) => {
    const bytes = Buffer.alloc(24);
    bytes.writeUInt16LE(type, 16);
    bytes.writeUInt16LE(code, 18);
    bytes.writeInt32LE(value, 20);
    return bytes;
  };

  it("is heard when it goes down, and nothing else is", () => {
    expect(wasPressed(Buffer.concat([event(0, 0, 0), event(1, 116, 1), event(1, 116, 0)]))).toBe(true);
    expect(wasPressed(Buffer.concat([event(1, 116, 0), event(1, 30, 1), event(0, 116, 1)]))).toBe(false);
    expect(wasPressed(event(1, 116, 1).subarray(0, 23))).toBe(false);
  });

  it("is found by its name among the machine's inputs", async () => {
    for (const [name, label] of [
      ["event0", "AT Keyboard"],
      ["event1", "Power Button"],
      ["mice", "Power Button"],
    ] as const) {
      mkdirSync(inFolder(`sys/class/input/${name}/device`), { recursive: true });
      writeFileSync(inFolder(`sys/class/input/${name}/device/name`), label);
    }
    mkdirSync(inFolder("dev/input"), { recursive: true });
    writeFileSync(inFolder("dev/input/event1"), event(1, 116, 1));
    const pressed = new Promise<void>((resolve) => {
      listenForPowerButton({ sys: inFolder("sys"), dev: inFolder("dev") }, resolve);
    });
    await pressed;
  });
});

describe("mounts", () => {
  it("never touch the host's devices in the native lane", () => {
    expect(kernelMounts("native").map(({ type }) => type)).not.toContain("devtmpfs");
    expect(kernelMounts("machine")[0]).toMatchObject({ type: "devtmpfs", target: "/dev" });
  });

  it("that are there already or optional are no failure, others are", () => {
    const failing = (type: string, code: string) =>
      ({
        mount: (_: string, __: string, mounted: string) => {
          if (mounted === type) throw Object.assign(new Error(code), { code });
        },
      }) as unknown as Syscalls;
    expect(mountKernelFiles("machine", failing("devtmpfs", "EBUSY"))).toEqual([]);
    expect(mountKernelFiles("machine", failing("cgroup2", "ENODEV"))).toEqual(["cgroup2"]);
    expect(() => mountKernelFiles("machine", failing("proc", "EPERM"))).toThrow("EPERM");
  });

  it("are read from the kernel with their strange names", () => {
    const info = "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /a\\040b rw,shared:1 master:2 - tmpfs tmpfs rw\n";
    expect(mountsOf(info)).toEqual([
      { target: "/", type: "ext4" },
      { target: "/a b", type: "tmpfs" },
    ]);
  });
});

describe("folders", () => {
  it("are each daemon's own, and closed to others", () => {
    const [run, state, log] = [inFolder("run"), inFolder("state"), inFolder("log")];
    const folders = machineFolders(run, state, log).filter(({ path }) => path.startsWith(folder));
    makeFolders(folders);
    makeFolders(folders);
    const of = (path: string) => {
      const { mode, uid, gid } = statSync(path);
      return { mode: mode & 0o7777, uid, gid };
    };
    expect(of(run)).toEqual({ mode: 0o755, uid: 0, gid: 0 });
    expect(agentNames).toHaveLength(8);
    for (const agent of agentNames) {
      const { uid, gid } = users[`aios-agent-${agent}` as keyof typeof users];
      expect(of(`${run}/agents/${agent}`)).toEqual({ mode: 0o750, uid, gid });
    }
    for (const { user, folders: own } of daemons) {
      for (const name of own) expect(of(`${state}/${name}`)).toEqual({ mode: 0o700, ...users[user] });
    }
  });

  it("keep what is in them", () => {
    mkdirSync(inFolder("x"));
    writeFileSync(inFolder("x/kept"), "kept");
    makeFolders([{ path: inFolder("x"), mode: 0o700, owner: users["aios-memory"] }]);
    expect(readFileSync(inFolder("x/kept"), "utf8")).toBe("kept");
  });
});

describe("the end of the machine", () => {
  const ending = (steps: string[], failing?: string) => {
    const clock = new ManualClock();
    const step = (name: string) => () => {
      steps.push(name);
      if (name === failing) throw new Error("stuck");
    };
    return {
      clock,
      screen,
      stopUnits: async () => step("stop units")(),
      signalAll: (signal: string) => step(signal)(),
      closeServices: step("close services"),
      markTime: step("mark time"),
      closeLogs: step("close logs"),
      unmount: () => {
        step("unmount")();
        return [] as string[];
      },
      sync: step("sync"),
      disarmWatchdog: step("disarm"),
      reboot: step("reboot"),
    };
  };
  const order = "stop units, SIGTERM, SIGKILL, mark time, close services, close logs, sync, unmount, disarm, reboot";

  it("is a fixed order that ends with the line tests wait for", async () => {
    const steps: string[] = [];
    const world = ending(steps);
    const end = endMachine("power-off", "SIGUSR2", world);
    await world.clock.advance(1_000);
    await end;
    expect(steps.join(", ")).toBe(order);
    expect(said).toEqual(["aios-init: power-off, SIGUSR2", consoleLines.powerOff]);
  });

  it.each(["stop units", "SIGTERM", "unmount", "sync", "close logs"])("goes on when %s fails", async (failing) => {
    const steps: string[] = [];
    const world = ending(steps, failing);
    const end = endMachine("power-off", "SIGUSR2", world);
    await world.clock.advance(1_000);
    await end;
    expect(steps.at(-1)).toBe("reboot");
    expect(said.some((line) => line.startsWith("fault: "))).toBe(true);
  });

  it("does not wait for units that cannot die, keeps the watchdog for a restart, and says what is in use", async () => {
    const steps: string[] = [];
    const world = { ...ending(steps), stopUnits: () => new Promise<void>(() => {}), unmount: () => ["/mnt/data"] };
    const end = endMachine("restart", "asked", world);
    await world.clock.advance(21_000);
    await end;
    expect(steps).not.toContain("disarm");
    expect(steps.at(-1)).toBe("reboot");
    expect(said.join()).toContain("still in use: /mnt/data");
    expect(said).not.toContain(consoleLines.powerOff);
  });
});
