import { lstatSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { messageOf } from "#lib/errors";
import type { Children } from "./children.ts";
import type { Run } from "./commands.ts";
import { type Lease, runDhcp } from "./dhcp.ts";
import type { Faults } from "./faults.ts";
import type { Nic } from "./hardware.ts";
import { ipv4Pattern, type Provision } from "./provision.ts";
import type { Screen } from "./screen.ts";

export interface NetworkNeeds {
  readonly nics: readonly Nic[];
  readonly provision: Provision;
  readonly hostname: string;
  /** Asked before those that DHCP names. */
  readonly dnsServers: readonly string[];
  /** Folder for resolv.conf and the DHCP client's script. */
  readonly run: string;
  readonly command: Run;
  readonly children: Children;
  readonly faults: Faults;
  readonly screen: Screen;
}

/** The C library reads no more. */
const nameServersMax = 3;
const fault = "network";

/**
 * Loopback, and the first interface as provisioned, or else every interface by DHCP. Returns when loopback is up; the rest
 * goes on by itself: a boot does not wait for a network, and a fault stands until there is one.
 */
export async function startNetwork(needs: NetworkNeeds): Promise<void> {
  const { nics, provision, command, faults } = needs;
  writeResolvConf(needs, []);
  const first = nics[0];
  if (first === undefined) {
    faults.raise(fault, "network: no interface found; give the machine a network card that its kernel knows");
    await configure(command, ["link set lo up"]);
  } else if (provision.network !== undefined) {
    await startStatic(first, provision.network, needs);
  } else {
    await configure(command, ["link set lo up", ...nics.map(({ name }) => `link set ${name} up`)]);
    startDhcp(needs);
  }
}

async function startStatic(
  { name }: Nic,
  { address, gateway }: NonNullable<Provision["network"]>,
  { command, faults, screen }: NetworkNeeds,
): Promise<void> {
  const route = gateway === undefined ? [] : [`route replace default via ${gateway} dev ${name}`];
  try {
    await configure(command, [
      "link set lo up",
      `link set ${name} up`,
      `address replace ${address} dev ${name}`,
      ...route,
    ]);
    screen.say(`aios-init: network ${name}: ${address}`);
  } catch (error) {
    faults.raise(fault, `network ${name}: ${messageOf(error)}; correct [network] in provision.toml`);
  }
}

function startDhcp(needs: NetworkNeeds): void {
  const { nics, faults, screen, command } = needs;
  const leases = new Map<string, Lease>();
  // One after the other: a lease that is lost and found again must not be applied in the wrong order.
  let applying = Promise.resolve();
  const apply = (lines: readonly string[]) => {
    applying = applying
      .then(() => configure(command, lines))
      .catch((error: unknown) => screen.fault("configure the network", error));
  };
  runDhcp(needs, (nic, lease) => {
    if (lease === undefined) {
      if (leases.delete(nic)) apply([`address flush dev ${nic}`]);
    } else {
      if (leases.get(nic)?.address !== lease.address) screen.say(`aios-init: network ${nic}: ${lease.address} by DHCP`);
      leases.set(nic, lease);
      apply(leaseLines(nic, lease));
    }
    writeResolvConf(
      needs,
      [...leases.values()].flatMap(({ nameServers }) => nameServers),
    );
    if (leases.size > 0) faults.clear(fault);
    else {
      const names = nics.map(({ name }) => name).join(", ");
      faults.raise(fault, `network: no address by DHCP on ${names}; check the cable and the DHCP server`);
    }
  });
}

function leaseLines(nic: string, { address, router }: Lease): string[] {
  const route = router === undefined ? [] : [`route replace default via ${router} dev ${nic}`];
  return [`address replace ${address} dev ${nic}`, ...route];
}

/** Runs `ip` commands, one a line, in one process. */
async function configure(command: Run, lines: readonly string[]): Promise<void> {
  await command("ip", ["-force", "-batch", "-"], { input: `${lines.join("\n")}\n`, timeoutMs: 10_000 });
}

function writeResolvConf({ run, dnsServers }: NetworkNeeds, found: readonly string[]): void {
  const servers = [...new Set([...dnsServers, ...found])].filter((server) => ipv4Pattern.test(server));
  const lines = servers.slice(0, nameServersMax).map((server) => `nameserver ${server}\n`);
  writeFileSync(`${run}/resolv.conf`, lines.join(""), { mode: 0o644 });
}

/** Makes the C library read resolv.conf where init writes it. The image has the link; a machine may have lost it. */
export function linkResolvConf(run: string, path = "/etc/resolv.conf"): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  rmSync(path, { force: true });
  symlinkSync(`${run}/resolv.conf`, path);
}
