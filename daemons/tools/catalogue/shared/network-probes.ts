import { Resolver } from "node:dns/promises";
import { BlockList, connect, isIP, isIPv4, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import type { Clock } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { addressesOf, reachOf } from "./addresses.ts";
import { type Outbound, reachable } from "./outbound.ts";

/** Ports that are tried at the same time. */
const portsAtOnce = 128;

type PortState = "open" | "closed" | "filtered";

/**
 * The addresses of a host for tools that only ask whether it is there. An address that was named is what was granted; a
 * name that leads to an address which is not public needs a grant of that too. Throws PERMISSION_DENIED.
 */
export async function probeAddresses(
  host: string,
  permits: (capability: string) => boolean,
  outbound: Outbound,
  signal: AbortSignal,
): Promise<readonly [string, ...string[]]> {
  outbound.check("reach", host);
  const [first = "", ...others] = isIP(host) === 0 ? await reachable(host, permits, outbound, signal) : [host];
  return [first, ...others];
}

/** Whether a TCP port takes connections: closed when it says no, filtered when it says nothing. */
export function checkPort(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<PortState> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: address, port });
    const end = (state: PortState) => {
      resolve(state);
      socket.destroy();
    };
    const stop = () => {
      reject(signal.reason);
      socket.destroy();
    };
    socket.setTimeout(timeoutMs, () => end("filtered"));
    socket.once("connect", () => end("open"));
    socket.once("error", (error) => end(errnoOf(error) === "ECONNREFUSED" ? "closed" : "filtered"));
    socket.once("close", () => signal.removeEventListener("abort", stop));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** The open ones of a range of ports, in order. */
export async function scanPorts(
  address: string,
  { first, last, timeoutMs }: { first: number; last: number; timeoutMs: number },
  signal: AbortSignal,
): Promise<number[]> {
  const open: number[] = [];
  let next = first;
  const scan = async () => {
    while (next <= last) {
      const port = next++;
      if ((await checkPort(address, port, timeoutMs, signal)) === "open") open.push(port);
    }
  };
  await Promise.all(Array.from({ length: Math.min(portsAtOnce, last - first + 1) }, scan));
  return open.sort((a, b) => a - b);
}

/**
 * The first address of a host of our own: this machine's, or one in a network that it is attached to.
 * Throws PERMISSION_DENIED for any other: nobody scans what is not theirs.
 */
export async function ownHost(host: string, outbound: Outbound, signal: AbortSignal): Promise<string> {
  outbound.check("scan", host);
  const found = await addressesOf(host, signal);
  const attached = attachedNetworks();
  const strange = found.find(
    (address) =>
      !["loopback", "own"].includes(reachOf(address)) && !attached.check(address, isIPv4(address) ? "ipv4" : "ipv6"),
  );
  if (strange === undefined) return found[0] ?? host;
  throw new AiosError("PERMISSION_DENIED", {
    act: "scan",
    object: host,
    reason: `${strange} is neither this machine nor in a network that it is attached to`,
    next: "scan own hosts only",
  });
}

/** The networks of this machine's interfaces. */
function attachedNetworks(): BlockList {
  const list = new BlockList();
  for (const { subnet, family } of attachedSubnets()) {
    const [address = "", length] = subnet.split("/");
    list.addSubnet(address, Number(length), family);
  }
  return list;
}

export function attachedSubnets(): { subnet: string; family: "ipv4" | "ipv6" }[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, cidr }) => !internal && cidr !== null)
    .map(({ cidr, family }) => ({
      subnet: (cidr ?? "").replace(/%[^/]*/, ""),
      family: family === "IPv4" ? ("ipv4" as const) : ("ipv6" as const),
    }));
}

export const recordTypes = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] as const;
type RecordType = (typeof recordTypes)[number];

/** DNS records as text, asked of `server` ("address" or "address:port") or those of resolv.conf. No records is an empty list. */
/** The address of a name server that is written with its port. */
export const withoutPort = (server: string) => server.replace(/^\[(.*)\](:\d+)?$|^([\d.]+)(:\d+)?$/, "$1$3");

export async function dnsRecords(
  hostname: string,
  type: RecordType,
  server: string | undefined,
  outbound: Outbound,
  signal: AbortSignal,
): Promise<string[]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  if (server !== undefined) resolver.setServers([server]);
  for (const asked of resolver.getServers()) outbound.check("ask name server", withoutPort(asked));
  const stop = () => resolver.cancel();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const found: unknown = await resolver.resolve(hostname, type);
    return (Array.isArray(found) ? found : [found]).map(recordText);
  } catch (error) {
    signal.throwIfAborted();
    const code = errnoOf(error) ?? "";
    if (code === "ENODATA") return [];
    const reason = dnsCauses[code];
    if (reason === undefined) throw error;
    throw new AiosError(
      "FAILED_PRECONDITION",
      { act: `look up ${type} of`, object: hostname, reason },
      { cause: error },
    );
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const dnsCauses: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such name",
  ETIMEOUT: "no name server answers",
  ECONNREFUSED: "no name server answers",
  ESERVFAIL: "the name server could not find out",
  EREFUSED: "the name server refuses to say",
  EBADNAME: "it is not a name that DNS can have",
  EBADRESP: "the name server's answer makes no sense",
};

/** Chunks of a TXT record belong together; of other records each value is said with its name. */
function recordText(found: unknown): string {
  if (typeof found === "string") return found;
  if (Array.isArray(found)) return found.join("");
  return Object.entries(found as object)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/** Reads the output of `ping`, busybox's and iputils' alike. */
export function readPing(said: string): { sent: number; received: number; latency_ms?: number } {
  const [, sent, received] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(said) ?? [];
  const average = /= [\d.]+\/([\d.]+)\//.exec(said)?.[1];
  return {
    sent: Number(sent ?? 0),
    received: Number(received ?? 0),
    ...(average !== undefined && { latency_ms: Number(average) }),
  };
}

/** Bytes and packets of each interface since the kernel's start, of /proc/net/dev. */
export function readCounters(text: string) {
  return text
    .split("\n")
    .slice(2)
    .filter((line) => line.includes(":"))
    .map((line) => {
      const [name = "", counts = ""] = line.split(/:(.*)/s);
      const [
        rxBytes = 0,
        rxPackets = 0,
        rxErrors = 0,
        rxDropped = 0,
        ,
        ,
        ,
        ,
        txBytes = 0,
        txPackets = 0,
        txErrors = 0,
        txDropped = 0,
      ] = counts.trim().split(/\s+/).map(Number);
      return {
        interface: name.trim(),
        rxBytes,
        rxPackets,
        rxErrors,
        rxDropped,
        txBytes,
        txPackets,
        txErrors,
        txDropped,
      };
    });
}

type Counters = ReturnType<typeof readCounters>[number];

/** Bytes and packets a second of each interface over a span. */
export async function measureRates(read: () => Promise<Counters[]>, spanMs: number, clock: Clock, signal: AbortSignal) {
  const started = clock.monotonic();
  const before = await read();
  await clock.sleep(spanMs, signal);
  const seconds = Math.max(0.001, (clock.monotonic() - started) / 1000);
  const rate = (now: number, then: number) => Math.max(0, Math.round((now - then) / seconds));
  return (await read()).flatMap((now) => {
    const then = before.find((one) => one.interface === now.interface);
    if (then === undefined) return [];
    return {
      interface: now.interface,
      rx_bytes_per_second: rate(now.rxBytes, then.rxBytes),
      tx_bytes_per_second: rate(now.txBytes, then.txBytes),
      rx_packets_per_second: rate(now.rxPackets, then.rxPackets),
      tx_packets_per_second: rate(now.txPackets, then.txPackets),
    };
  });
}
