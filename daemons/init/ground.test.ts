/** Phase 1's parts: provisioning, network, clock, watchdog, mounts; and the order of an end. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { consoleLines, daemons, users } from "#manifest";
import { openChildren } from "./children.ts";
import { parseEvent } from "./dhcp.ts";
import { openFaults } from "./faults.ts";
import { agentNames, machineFolders, makeFolders } from "./folders.ts";
import { kernelMounts, mountKernelFiles } from "./mounts.ts";
import { linkResolvConf, type NetworkNeeds, startNetwork } from "./network.ts";
import { listenForPowerButton, wasPressed } from "./power-button.ts";
import { takeProvision } from "./provision.ts";
import { mountsOf } from "./root.ts";
import type { Screen } from "./screen.ts";
import { endMachine } from "./shutdown.ts";
import type { Syscalls } from "./syscalls.ts";
import { bootClock, catchUp, markTime } from "./timekeeping.ts";
import { startWatchdog } from "./watchdog.ts";

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

describe("the network", () => {
  let lines: string[];
  let needs: NetworkNeeds;

  beforeEach(() => {
    lines = [];
    needs = {
      nics: [{ name: "eth0", mac: "" }],
      provision: {},
      hostname: "box",
      dnsServers: ["1.1.1.1", "not an address"],
      run: folder,
      command: async (_, __, options) => {
        lines.push(...(options?.input ?? "").trim().split("\n"));
        return { code: 0, output: "" };
      },
      children: openChildren(),
      faults: openFaults(),
      screen,
    };
  });

  it("is what provisioning says, on the first interface", async () => {
    const network = { address: "10.1.2.3/30", gateway: "10.1.2.1" };
    await startNetwork({ ...needs, provision: { network } });
    expect(lines).toEqual([
      "link set lo up",
      "link set eth0 up",
      "address replace 10.1.2.3/30 dev eth0",
      "route replace default via 10.1.2.1 dev eth0",
    ]);
    expect(readFileSync(inFolder("resolv.conf"), "utf8")).toBe("nameserver 1.1.1.1\n");
    expect(needs.faults.list()).toEqual([]);
  });

  it("that cannot be is a fault with its next step, and loopback is up all the same", async () => {
    await startNetwork({ ...needs, nics: [] });
    expect(lines).toEqual(["link set lo up"]);
    expect(needs.faults.list()[0]).toMatch(/no interface found; give the machine a network card/);
    const broken = async () => {
      throw new Error("run ip: exit code 2");
    };
    await startNetwork({ ...needs, command: broken, provision: { network: { address: "10.1.2.3/30" } } });
    expect(needs.faults.list()[0]).toMatch(/network eth0: run ip: exit code 2; correct \[network\]/);
  });

  it("is asked for by DHCP otherwise, and believed only as far as addresses go", () => {
    expect(parseEvent("aios-dhcp bound ip=10.0.2.15 mask=24 router=10.0.2.2 dns=10.0.2.3 8.8.8.8")).toEqual({
      lease: { address: "10.0.2.15/24", router: "10.0.2.2", nameServers: ["10.0.2.3", "8.8.8.8"] },
    });
    expect(parseEvent("aios-dhcp renew ip=10.0.2.15 mask=24 router= dns=")).toEqual({
      lease: { address: "10.0.2.15/24", nameServers: [] },
    });
    expect(parseEvent("aios-dhcp bound ip=10.0.2.15 mask=24 router=$(reboot) dns=a;b 1.2.3.4")).toEqual({
      lease: { address: "10.0.2.15/24", nameServers: ["1.2.3.4"] },
    });
    expect(parseEvent("aios-dhcp bound ip=$(id) mask=24 router= dns=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp bound ip=1.2.3.4 mask=99 router= dns=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp leasefail ip= mask= router= dns=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp deconfig ip= mask= router= dns=")).toBeUndefined();
    expect(parseEvent("udhcpc: started")).toBeUndefined();
  });

  it("has its name servers where the C library looks", () => {
    const path = inFolder("etc-resolv.conf");
    writeFileSync(path, "nameserver 9.9.9.9\n");
    linkResolvConf(folder, path);
    writeFileSync(inFolder("resolv.conf"), "mine");
    expect(readFileSync(path, "utf8")).toBe("mine");
    rmSync(path);
    symlinkSync("/elsewhere", path);
    linkResolvConf(folder, path);
    expect(existsSync(path)).toBe(false);
  });
});

describe("time", () => {
  it("does not run backwards over a boot", () => {
    const clock = new ManualClock(2_000_000_000_000);
    const mark = inFolder("clock");
    const set: number[] = [];
    expect(catchUp(mark, clock, (ms) => set.push(ms))).toBeUndefined();
    markTime(mark, clock);
    expect(catchUp(mark, clock, (ms) => set.push(ms))).toBeUndefined();
    expect(catchUp(mark, new ManualClock(1_000), (ms) => set.push(ms))).toBe(2_000_000_000_000);
    expect(set).toEqual([2_000_000_000_000]);
    utimesSync(mark, 5, 5);
    expect(catchUp(mark, clock, (ms) => set.push(ms))).toBeUndefined();
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
    const caches = folders.filter(({ path }) => path.includes("cache/node/"));
    expect(caches.map(({ mode }) => mode)).toEqual(daemons.map(() => 0o700));
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
