/** The machine's network: as provisioned, by DHCP, its name servers; and what a lease does to a real interface. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { ownFolder } from "#lib/rpc/sockets";
import { openChildren } from "../base/children.ts";
import { openFaults } from "../base/faults.ts";
import type { Screen } from "../early/screen.ts";
import { listNics } from "../hardware/hardware.ts";
import { parseEvent } from "./dhcp.ts";
import { type Lease, leaseLines } from "./lease.ts";
import { linkResolvConf, type NetworkNeeds, startNetwork } from "./network.ts";

let folder: string;
let said: string[];
let screen: Screen;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-network-");
  mkdirSync(ownFolder(folder, "init"), { recursive: true });
  said = [];
  screen = { say: (line) => said.push(line), fault: (act, error) => said.push(`fault: ${act}: ${error}`), onLine() {} };
});
afterEach(() => rmSync(folder, { recursive: true }));

const inFolder = (name: string) => join(folder, name);

describe("the network", () => {
  let lines: string[];
  let needs: NetworkNeeds;

  beforeEach(() => {
    lines = [];
    needs = {
      nics: [{ name: "eth0", mac: "" }],
      nicsNow: () => needs.nics,
      firewallFile: inFolder("firewall.json"),
      provision: {},
      hostname: "box",
      dnsServers: ["1.1.1.1"],
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
      "route replace default via 10.1.2.1 dev eth0 onlink",
    ]);
    expect(readFileSync(inFolder("resolv.conf"), "utf8")).toBe("nameserver 1.1.1.1\n");
    expect(needs.faults.list()).toEqual([]);
  });

  it("says which of its name servers is none", async () => {
    const dnsServers = ["1.1.1.1", "fe80::1%eth0", "2001:db8:::1"];
    await startNetwork({ ...needs, dnsServers, provision: { network: { address: "10.1.2.3/30" } } });
    const servers = "nameserver fe80::1%eth0\nnameserver 1.1.1.1\n";
    expect(readFileSync(inFolder("resolv.conf"), "utf8")).toBe(servers);
    expect(needs.faults.list()).toEqual([expect.stringMatching(/dns_servers: 2001:db8:::1: not asked/)]);
  });

  it("that cannot be is a fault with its next step, and loopback is up all the same", async () => {
    await startNetwork({ ...needs, nics: [], nicsNow: () => [] });
    expect(lines).toEqual(["link set lo up"]);
    expect(needs.faults.list()[0]).toMatch(/no interface found; give the machine a network card/);
    const broken = async () => {
      throw new Error("run ip: exit code 2");
    };
    await startNetwork({ ...needs, command: broken, provision: { network: { address: "10.1.2.3/30" } } });
    expect(needs.faults.list()[0]).toMatch(/network eth0: run ip: exit code 2; correct \[network\]/);
  });

  it("is asked for by DHCP otherwise, and believed only as far as addresses go", () => {
    const lease = (line: string) => parseEvent(`aios-dhcp ${line}`)?.lease;
    const via = (router: string) => [{ to: "default", via: router }];
    expect(lease("bound ip=10.0.2.15 mask=24 router=10.0.2.2 dns=10.0.2.3 8.8.8.8 routes= ntp=10.0.2.4")).toEqual({
      address: "10.0.2.15/24",
      routes: via("10.0.2.2"),
      nameServers: ["10.0.2.3", "8.8.8.8"],
      timeServers: ["10.0.2.4"],
    });
    expect(lease("renew ip=10.0.2.15 mask=24 router= dns= routes= ntp=")).toMatchObject({
      routes: [],
      nameServers: [],
    });
    expect(lease("bound ip=10.0.2.15 mask=24 router=$(reboot) dns=a;b 1.2.3.4 routes= ntp=x y")).toMatchObject({
      routes: [],
      nameServers: ["1.2.3.4"],
      timeServers: [],
    });
    expect(parseEvent("aios-dhcp bound ip=$(id) mask=24 router= dns= routes= ntp=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp bound ip=1.2.3.4 mask=99 router= dns= routes= ntp=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp leasefail ip= mask= router= dns= routes= ntp=")).toEqual({ lease: undefined });
    expect(parseEvent("aios-dhcp deconfig ip= mask= router= dns= routes= ntp=")).toBeUndefined();
    expect(parseEvent("udhcpc: started")).toBeUndefined();
  });

  it("takes a server's routes in place of its router, with those that are on the link", () => {
    const line = (routes: string) => `aios-dhcp bound ip=10.9.0.7 mask=32 router=10.9.0.9 dns= routes=${routes} ntp=`;
    expect(parseEvent(line("10.9.0.1/32 0.0.0.0 0.0.0.0/0 10.9.0.1"))?.lease?.routes).toEqual([
      { to: "10.9.0.1/32" },
      { to: "default", via: "10.9.0.1" },
    ]);
    expect(parseEvent(line("x 10.9.0.1 1.2.3.4/40 1.1.1.1 1.2.3.0/24"))?.lease?.routes).toEqual([
      { to: "default", via: "10.9.0.9" },
    ]);
  });

  it("is configured though a server leaves out, or writes down, what makes no sense", () => {
    const lease = (line: string) => parseEvent(`aios-dhcp bound ${line}`)?.lease;
    const via = (router: string) => [{ to: "default", via: router }];
    // Without a mask, as RFC 791's classes have it.
    expect(lease("ip=10.9.0.7 mask= router= dns= routes= ntp= mtu=")?.address).toBe("10.9.0.7/8");
    expect(lease("ip=172.16.0.7 mask= router= dns= routes= ntp= mtu=")?.address).toBe("172.16.0.7/16");
    expect(lease("ip=192.168.1.7 mask= router= dns= routes= ntp= mtu=")?.address).toBe("192.168.1.7/24");
    const first = "ip=10.9.0.7 mask=24 router=0.0.0.0 10.9.0.7 10.9.0.1 10.9.0.2 dns=0.0.0.0 255.255.255.255 10.9.0.53";
    expect(lease(`${first} routes= ntp=0.0.0.0 224.0.1.1 mtu=`)).toEqual({
      address: "10.9.0.7/24",
      routes: via("10.9.0.1"),
      nameServers: ["10.9.0.53"],
      timeServers: [],
    });
    expect(lease("ip=10.9.0.7 mask=24 router=0.0.0.0 dns= routes= ntp= mtu=")?.routes).toEqual([]);
    const routes = "routes=10.1.2.3/8 10.9.0.1 192.168.5.130/25 10.9.0.1 0.0.0.0/0 10.9.0.1 10.0.0.0/8 10.9.0.7";
    expect(lease(`ip=10.9.0.7 mask=24 router= dns= ${routes} ntp= mtu=`)?.routes).toEqual([
      { to: "10.0.0.0/8", via: "10.9.0.1" },
      { to: "192.168.5.128/25", via: "10.9.0.1" },
      ...via("10.9.0.1"),
    ]);
    for (const ip of ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"])
      expect(parseEvent(`aios-dhcp bound ip=${ip} mask=24 router= dns=`)).toEqual({ lease: undefined });
  });

  it("takes packets of the size that the server says", () => {
    const mtu = (text: string) => parseEvent(`aios-dhcp bound ip=10.9.0.7 mask=24 ntp= mtu=${text}`)?.lease?.mtu;
    expect(["1450", "576", "9000", "575", "65536", "0", "-1", "1e3", ""].map(mtu)).toEqual([
      1450,
      576,
      9000,
      ...Array<undefined>(6).fill(undefined),
    ]);
  });

  it("is asked for again when a client cannot be started", async () => {
    rmSync(ownFolder(folder, "init"), { recursive: true });
    const { nics } = needs;
    let there = true;
    await startNetwork({ ...needs, nicsNow: () => (there ? nics : []) });
    there = false;
    expect(said).toEqual([expect.stringMatching(/^fault: start a DHCP client on eth0: .*ENOENT/)]);
  });

  it("asks name servers of the house before public ones", async () => {
    const dnsServers = ["1.1.1.1", "2001:db8::53", "10.0.0.53", "fd00::53"];
    await startNetwork({ ...needs, dnsServers, provision: { network: { address: "10.1.2.3/30" } } });
    const servers = readFileSync(inFolder("resolv.conf"), "utf8").trim().split("\n");
    expect(servers.map((line) => line.split(" ")[1])).toEqual(["10.0.0.53", "fd00::53", "1.1.1.1"]);
  });

  it("loads the firewall before anything is up, and says when it cannot", async () => {
    const network = { address: "10.1.2.3/30" };
    const commands: string[] = [];
    const command: NetworkNeeds["command"] = async (program, args) => {
      commands.push(program);
      if (program === "nft") throw new Error(`run nft ${args.join(" ")}: exit code 1`);
      return { code: 0, output: "" };
    };
    await startNetwork({ ...needs, command, provision: { network } });
    expect(commands).toEqual(["ip"]);
    writeFileSync(needs.firewallFile, "{}");
    await startNetwork({ ...needs, command, provision: { network } });
    expect(commands).toEqual(["ip", "nft", "ip"]);
    expect(needs.faults.list()).toEqual([
      expect.stringMatching(/^firewall: its rules are not in effect: .*exit code 1; see/),
    ]);
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

describe("a lease", () => {
  let keeper: ChildProcess;
  const inside = (program: string, args: readonly string[], input = "") =>
    execFileSync("nsenter", ["--target", `${keeper.pid}`, "--net", "--", program, ...args], {
      input,
      encoding: "utf8",
    });
  const lease = (address: string, routes: Lease["routes"]): Lease => ({
    address,
    routes,
    nameServers: [],
    timeServers: [],
  });
  const by = (via: string) => [{ to: "default", via }];
  const addresses = (nic: string) =>
    (
      JSON.parse(inside("ip", ["-json", "-4", "address", "show", nic])) as { addr_info: { local: string }[] }[]
    )[0]?.addr_info.map(({ local }) => local);
  const routes = () =>
    inside("ip", ["-4", "route"])
      .trim()
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);

  /** As init does it, with the interface's last lease before. */
  const leases = new Map<string, Lease>();
  const take = (nic: string, place: number, after: Lease | undefined) => {
    const lines = leaseLines(nic, place, leases.get(nic), after);
    inside("ip", ["-force", "-batch", "-"], `${lines.join("\n")}\n`);
    if (after === undefined) leases.delete(nic);
    else leases.set(nic, after);
  };

  beforeEach(async () => {
    leases.clear();
    keeper = spawn("unshare", ["--net", "sleep", "120"], { stdio: "ignore" });
    const own = readlinkSync("/proc/self/ns/net");
    while (readlinkSync(`/proc/${keeper.pid}/ns/net`) === own) await systemClock.sleep(5);
    for (const nic of ["eth0", "eth1"]) {
      inside("ip", ["link", "add", nic, "type", "veth", "peer", "name", `peer-${nic}`]);
      for (const end of [nic, `peer-${nic}`]) inside("ip", ["link", "set", end, "up"]);
    }
  });
  afterEach(() => {
    keeper.kill("SIGKILL");
  });

  it("of a single address reaches a router outside of it", () => {
    take("eth0", 0, lease("10.9.0.7/32", by("10.1.1.1")));
    expect(routes()).toEqual(["default via 10.1.1.1 dev eth0 proto dhcp metric 1024 onlink"]);
    take("eth0", 0, lease("10.9.0.7/32", [{ to: "10.1.1.1/32" }, { to: "default", via: "10.1.1.1" }]));
    expect(routes()).toEqual([
      "default via 10.1.1.1 dev eth0 proto dhcp metric 1024 onlink",
      "10.1.1.1 dev eth0 proto dhcp scope link metric 1024",
    ]);
  });

  it("that changes replaces address and router, in the same network too", () => {
    take("eth0", 0, lease("10.9.0.7/24", by("10.9.0.1")));
    take("eth0", 0, lease("10.9.0.8/24", by("10.9.0.2")));
    expect(addresses("eth0")).toEqual(["10.9.0.8"]);
    expect(routes().filter((line) => line.startsWith("default"))).toEqual([
      "default via 10.9.0.2 dev eth0 proto dhcp metric 1024 onlink",
    ]);
    take("eth0", 0, lease("192.168.3.4/16", by("192.168.0.1")));
    expect(addresses("eth0")).toEqual(["192.168.3.4"]);
    take("eth0", 0, undefined);
    expect([addresses("eth0") ?? [], routes()]).toEqual([[], []]);
  });

  it("sets the packet size, and Ethernet's again when the next one does not say it", () => {
    const mtu = () => /mtu (\d+)/.exec(inside("ip", ["link", "show", "eth0"]))?.[1];
    const small = { ...lease("10.9.0.7/24", by("10.9.0.1")), mtu: 1_450 };
    take("eth0", 0, small);
    expect(mtu()).toBe("1450");
    take("eth0", 0, small);
    take("eth0", 0, lease("10.9.0.7/24", by("10.9.0.1")));
    expect(mtu()).toBe("1500");
    take("eth0", 0, { ...small, mtu: 65_535 });
    expect(routes()[0]).toContain("default via 10.9.0.1");
  });

  it("of a second interface does not take the first one's way, and is there when that is lost", () => {
    const [first, second] = [lease("10.9.0.7/24", by("10.9.0.1")), lease("10.8.0.7/24", by("10.8.0.1"))];
    take("eth1", 1, second);
    take("eth0", 0, first);
    take("eth1", 1, second);
    expect(inside("ip", ["route", "get", "203.0.113.9"])).toMatch(/via 10\.9\.0\.1 dev eth0/);
    take("eth0", 0, undefined);
    expect(inside("ip", ["route", "get", "203.0.113.9"])).toMatch(/via 10\.8\.0\.1 dev eth1/);
    take("eth0", 0, first);
    expect(inside("ip", ["route", "get", "203.0.113.9"])).toMatch(/via 10\.9\.0\.1 dev eth0/);
  });
});

describe("an interface that comes late", () => {
  it("is configured as provisioned", async () => {
    const lines: string[] = [];
    let nics: NetworkNeeds["nics"] = [];
    const faults = openFaults();
    await startNetwork({
      nics,
      nicsNow: () => nics,
      provision: { network: { address: "10.1.2.3/30" } },
      hostname: "box",
      dnsServers: [],
      firewallFile: inFolder("none"),
      run: folder,
      command: async (_, __, options) => {
        lines.push(...(options?.input ?? "").trim().split("\n"));
        return { code: 0, output: "" };
      },
      children: openChildren(),
      faults,
      screen,
      lookEveryMs: 5,
    });
    expect([lines, faults.list().length]).toEqual([["link set lo up"], 1]);
    nics = [{ name: "eth7", mac: "" }];
    while (said.length === 0) await systemClock.sleep(5);
    expect(lines).toContain("address replace 10.1.2.3/30 dev eth7");
    expect(faults.list()).toEqual([]);
  });

  it("is none of those that programs make", () => {
    const files = {
      eth1: { type: "1", uevent: "INTERFACE=eth1" },
      "podman0/bridge": {},
      podman0: { type: "1", uevent: "DEVTYPE=bridge\nINTERFACE=podman0" },
      mac0: { type: "1", uevent: "DEVTYPE=macvlan" },
      wg0: { type: "65534" },
    };
    for (const [nic, texts] of Object.entries(files)) {
      execFileSync("mkdir", ["-p", inFolder(`class/net/${nic}`)]);
      for (const [name, text] of Object.entries(texts)) writeFileSync(inFolder(`class/net/${nic}/${name}`), text);
    }
    expect(listNics(folder).map(({ name }) => name)).toEqual(["eth1"]);
  });
});
