import { spawnSync } from "node:child_process";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { AiosError } from "#lib/errors";
import type { NetworkSettings } from "./running.ts";

/** Machines of the native lane at once; each has a /30 of 10.190.0.0/24. */
const slotsMax = 64;

/** The host's end of a machine's network. */
export interface HostLink {
  /** What the machine is told. */
  readonly machine: NetworkSettings;
  /** Removes it. The kernel does so as well when the machine's name space is gone, but later. */
  remove(): void;
}

/** Addresses of a slot's /30: .1 is the host, .2 the machine. */
export function slotAddresses(slot: number): { host: string; machine: string } {
  const base = slot * 4;
  return { host: `10.190.0.${base + 1}`, machine: `10.190.0.${base + 2}` };
}

/**
 * Connects the network name space of process `pid` with this host: a veth pair, the machine's end called eth0.
 * The slot is the first whose interface name is free: making it is what reserves it.
 */
export function connectHost(pid: number): HostLink {
  for (let slot = 0; slot < slotsMax; slot++) {
    const { host, machine } = slotAddresses(slot);
    const name = `aios${slot}`;
    const made = ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", String(pid));
    if (/File exists/.test(made.stderr)) continue;
    if (made.status === 0) {
      need(ip("address", "add", `${host}/30`, "dev", name), name);
      need(ip("link", "set", name, "up"), name);
      return { machine: { address: `${machine}/30`, gateway: host }, remove: () => ip("link", "delete", name) };
    }
    need(made, name);
  }
  throw new AiosError(
    "RESOURCE_EXHAUSTED",
    `connect a machine: all ${slotsMax} interfaces aios0… are in use; power one off`,
  );
}

interface Ran {
  readonly status: number | null;
  readonly stderr: string;
}

function ip(...args: string[]): Ran {
  const { status, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  return { status, stderr: error?.message ?? stderr };
}

function need({ status, stderr }: Ran, name: string): void {
  if (status === 0) return;
  throw new AiosError("UNAVAILABLE", {
    act: "connect a machine by",
    object: name,
    reason: stderr.trim(),
    next: "the host's kernel needs veth and name spaces",
  });
}

/** A TCP port of the loopback interface that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
