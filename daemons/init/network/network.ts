/**
 * The network is up after its firewall. The tools leave their table as nft takes it; init loads it before an interface
 * is up, and a failure is a fault. Every interface has its own metric, so that no lease takes another's way; what a
 * lease before had and the new one has not goes first. Routers may be off the link (`onlink`), a server's own routes
 * (option 121) replace its router. Name servers of DHCP are asked before public ones. Interfaces are looked for every 5
 * s.
 */
import { lstatSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { callEvery } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Children, Faults, Provision, Run } from "../base/index.ts";
import type { Screen } from "../early/index.ts";
import type { Nic } from "../hardware/index.ts";
import { runDhcp } from "./dhcp.ts";
import { loadFirewall } from "./firewall.ts";
import { type Lease, leaseLines } from "./lease.ts";

export interface NetworkNeeds {
  /** The interfaces there are at the start. */
  readonly nics: readonly Nic[];
  /** The present network cards: one may be plugged in later, or be gone. */
  readonly nicsNow: () => readonly Nic[];
  readonly provision: Provision;
  readonly hostname: string;
  /** The name servers of the configuration. Public ones are asked after those that DHCP names. */
  readonly dnsServers: readonly string[];
  /** The firewall's rules, as the tools left them. */
  readonly firewallFile: string;
  /** /run/aios: resolv.conf is in it, and the DHCP client's script below it. */
  readonly run: string;
  /** How often it is looked for interfaces that came late; tests do not wait so long. */
  readonly lookEveryMs?: number;
  readonly command: Run;
  readonly children: Children;
  readonly faults: Faults;
  readonly screen: Screen;
}

/** The network's facts for the rest of init. */
export interface Network {
  /** Time servers that the leases name. */
  timeServers(): readonly string[];
  /** Hears when there may be other servers, or another way to them. */
  onChange(notice: () => void): void;
}

/** The C library reads no more. */
const nameServersMax = 3;
/** An interface that comes late is found this long after it came. */
const lookDefaultMs = 5_000;
const fault = "network";
const loopback = "link set lo up";

/**
 * The firewall, loopback, and the first interface as provisioned, or else every interface by DHCP. Returns when loopback
 * is up; the rest goes on by itself: a boot does not wait for a network, and a fault stands until there is one.
 */
export async function startNetwork(needs: NetworkNeeds): Promise<Network> {
  const { nics, provision } = needs;
  await loadFirewall(needs);
  tellNameServers(needs);
  writeResolvConf(needs, []);
  if (provision.network === undefined) return byDhcp(needs);
  return asProvisioned(nics, provision.network, needs);
}

async function asProvisioned(
  nics: readonly Nic[],
  network: NonNullable<Provision["network"]>,
  needs: NetworkNeeds,
): Promise<Network> {
  const [first] = nics;
  if (first !== undefined) await startStatic(first, network, needs);
  else {
    raiseNone(needs);
    await configure(needs.command, [loopback]);
    eachNew([], needs, (nic, stop) => {
      stop();
      needs.faults.clear(fault);
      void startStatic(nic, network, needs);
    });
  }
  return { timeServers: () => [], onChange() {} };
}

function raiseNone({ faults }: NetworkNeeds): void {
  faults.raise(fault, "network: no interface found; give the machine a network card that its kernel knows");
}

async function startStatic(
  { name }: Nic,
  { address, gateway }: NonNullable<Provision["network"]>,
  { command, faults, screen }: NetworkNeeds,
): Promise<void> {
  const route = gateway === undefined ? [] : [`route replace default via ${gateway} dev ${name} onlink`];
  try {
    await configure(command, [loopback, `link set ${name} up`, `address replace ${address} dev ${name}`, ...route]);
    screen.say(`aios-init: network ${name}: ${address}`);
  } catch (error) {
    faults.raise(fault, `network ${name}: ${messageOf(error)}; correct [network] in provision.toml`);
  }
}

/** A DHCP client on each interface, those that come late too. */
async function byDhcp(needs: NetworkNeeds): Promise<Network> {
  const { faults, screen, command, nicsNow } = needs;
  const leases = new Map<string, Lease>();
  /** Interfaces in the order in which they were first seen. */
  const places: string[] = [];
  const notices: (() => void)[] = [];
  // One after the other: a lease that is lost and found again must not be applied in the wrong order.
  let applying = Promise.resolve();
  const apply = (lines: readonly string[]) => {
    if (lines.length === 0) return;
    applying = applying
      .then(() => configure(command, lines))
      .catch((error: unknown) => screen.fault("configure the network", error));
  };
  const take = (nic: string, lease: Lease | undefined) => {
    const before = leases.get(nic);
    if (lease === undefined) leases.delete(nic);
    else leases.set(nic, lease);
    if (lease !== undefined && lease.address !== before?.address) {
      screen.say(`aios-init: network ${nic}: ${lease.address} by DHCP`);
    }
    if (exists(nic)) apply(leaseLines(nic, places.indexOf(nic), before, lease));
    writeResolvConf(
      needs,
      [...leases.values()].flatMap(({ nameServers }) => nameServers),
    );
    tellFault();
    if (JSON.stringify(before) === JSON.stringify(lease)) return;
    for (const notice of notices) applying.then(notice);
  };
  const tellFault = () => {
    if (leases.size > 0) return faults.clear(fault);
    if (places.length === 0) return raiseNone(needs);
    faults.raise(fault, `network: no address by DHCP on ${places.join(", ")}; check the cable and the DHCP server`);
  };
  const exists = (nic: string) => nicsNow().some(({ name }) => name === nic);
  const start = ({ name }: Nic) => {
    if (!places.includes(name)) places.push(name);
    const gone = () => {
      if (exists(name)) return true;
      take(name, undefined);
      return false;
    };
    runDhcp(name, needs, gone, (lease) => take(name, lease));
  };

  if (needs.nics.length === 0) raiseNone(needs);
  await configure(command, [loopback, ...needs.nics.map(({ name }) => `link set ${name} up`)]);
  for (const nic of needs.nics) start(nic);
  eachNew(needs.nics, needs, (nic) => {
    apply([`link set ${nic.name} up`]);
    start(nic);
  });
  return {
    timeServers: () => [...leases.values()].flatMap(({ timeServers }) => timeServers),
    onChange: (notice) => notices.push(notice),
  };
}

/** Hears of each interface that is not among those before, and again of one that went and came back, until stopped. */
function eachNew(
  before: readonly Nic[],
  { nicsNow, lookEveryMs = lookDefaultMs }: NetworkNeeds,
  notice: (nic: Nic, stop: () => void) => void,
): void {
  let known = new Set(before.map(({ name }) => name));
  const look = () => {
    const now = nicsNow();
    const added = now.filter(({ name }) => !known.has(name));
    known = new Set(now.map(({ name }) => name));
    for (const nic of added) notice(nic, stop);
  };
  const stop = callEvery(lookEveryMs, look, "unheld");
}

/** Runs `ip` commands, one a line, in one process. */
async function configure(command: Run, lines: readonly string[]): Promise<void> {
  await command("ip", ["-force", "-batch", "-"], { input: `${lines.join("\n")}\n`, timeoutMs: 10_000 });
}

/** One that is no address is left out of what the C library reads, and that is said. */
function tellNameServers({ dnsServers, faults }: NetworkNeeds): void {
  const wrong = dnsServers.filter((server) => isIP(server) === 0);
  if (wrong.length === 0) return;
  const next = 'give addresses such as "10.0.0.1" or "2001:db8::1"';
  faults.raise("name-servers", `network: dns_servers: ${wrong.join(", ")}: not asked, since it is no address; ${next}`);
}

/** Names of the house do not leave it: its own name servers are asked before public ones. */
function writeResolvConf({ run, dnsServers, screen }: NetworkNeeds, found: readonly string[]): void {
  const isPrivate = (server: string) =>
    /^(10\.|127\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|f[cd]|fe80:|::1$)/i.test(server);
  const ordered = [...dnsServers.filter(isPrivate), ...found, ...dnsServers.filter((server) => !isPrivate(server))];
  const servers = [...new Set(ordered)].filter((server) => isIP(server) !== 0);
  const lines = servers.slice(0, nameServersMax).map((server) => `nameserver ${server}\n`);
  try {
    writeFileSync(`${run}/resolv.conf`, lines.join(""), { mode: 0o644 });
  } catch (error) {
    screen.fault("write down the name servers", error);
  }
}

/** Makes the C library read resolv.conf where init writes it. The image has the link; a machine may have lost it. */
export function linkResolvConf(run: string, path = "/etc/resolv.conf"): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  rmSync(path, { force: true });
  symlinkSync(`${run}/resolv.conf`, path);
}
