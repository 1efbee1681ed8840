import type { ChildProcess } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { callAfter } from "#lib/clock";
import { ownFolder } from "#lib/rpc/sockets";
import { beginning } from "#lib/text";
import { type Children, ipv4Pattern } from "../base/index.ts";
import type { Screen } from "../early/index.ts";
import type { Lease, Route } from "./lease.ts";

/**
 * Options that a server is asked for beside the client's own list (BusyBox's names): routes (RFC 3442, and where
 * Windows servers have them), time servers and the packet size of the link.
 */
const options = ["staticroutes", "msstaticroutes", "ntpsrv", "mtu"] as const;

/** The script that the DHCP client calls with each event: it tells init, which alone configures interfaces. */
const script = `#!/bin/sh
printf 'aios-dhcp %s ip=%s mask=%s router=%s dns=%s routes=%s ntp=%s mtu=%s\\n' \\
  "$1" "$ip" "$mask" "$router" "$dns" "\${staticroutes:-$msstaticroutes}" "$ntpsrv" "$mtu"
`;

/** A client that has ended is started again after this long. */
const restartAfterMs = 5_000;

/** The longest line heard, characters. */
const lineLengthMax = 4_096;

interface DhcpNeeds {
  /** /run/aios. The client's script is in init's own folder there: root runs it, and nobody else may write it. */
  readonly run: string;
  readonly hostname: string;
  readonly children: Children;
  readonly screen: Pick<Screen, "fault">;
}

/** Runs a DHCP client on an interface for as long as that `exists`. `notice` hears of each lease, and undefined when there is none. */
export function runDhcp(
  nic: string,
  needs: DhcpNeeds,
  exists: () => boolean,
  notice: (lease: Lease | undefined) => void,
): void {
  const again = () => {
    if (exists()) callAfter(restartAfterMs, () => runDhcp(nic, needs, exists, notice), "unheld");
  };
  try {
    listen(startClient(nic, needs), notice, again);
  } catch (error) {
    // For lack of memory or room, which passes: without a client an interface would stay without an address.
    needs.screen.fault(`start a DHCP client on ${nic}`, error);
    again();
  }
}

function startClient(nic: string, needs: DhcpNeeds): ChildProcess {
  const path = `${ownFolder(needs.run, "init")}/dhcp-event`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  // In the foreground; 4 requests 2 s apart, then again every 10 s for as long as it takes.
  const args = [
    ...["udhcpc", "-f", "-i", nic, "-s", path, "-t", "4", "-T", "2", "-A", "10"],
    ...["-x", `hostname:${needs.hostname}`],
    ...options.flatMap((option) => ["-O", option]),
  ];
  return needs.children.spawn("busybox", args, {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
}

function listen(client: ChildProcess, notice: (lease: Lease | undefined) => void, ended: () => void): void {
  client.on("error", () => notice(undefined));
  client.once("close", ended);
  let rest = "";
  client.stdout?.setEncoding("utf8");
  client.stdout?.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = beginning(lines.pop() ?? "", lineLengthMax);
    for (const line of lines) {
      const event = parseEvent(line);
      if (event !== undefined) notice(event.lease);
    }
  });
}

/**
 * An event of the client, or undefined when the line is none that matters. What a DHCP server sent is anybody's text:
 * only addresses pass.
 */
export function parseEvent(line: string): { lease: Lease | undefined } | undefined {
  const [, event, rest = ""] = /^aios-dhcp (\w+) (.*)$/.exec(line) ?? [];
  if (event === "leasefail" || event === "nak") return { lease: undefined };
  if (event !== "bound" && event !== "renew") return undefined;
  const fields = Object.fromEntries(
    [...rest.matchAll(/(\w+)=(.*?)(?= \w+=|$)/g)].map(([, name, text]) => [name, text]),
  );
  const { ip = "", mask, router = "", dns = "", routes = "", ntp = "", mtu = "" } = fields;
  const prefix = mask ? Number(mask) : prefixOf(ip);
  if (!isHost(ip) || !Number.isInteger(prefix) || prefix < 1 || prefix > 32) return { lease: undefined };
  // A server that gives routes gives them all: the router counts no more (RFC 3442).
  const given = parseRoutes(routes).filter(({ via }) => via !== ip);
  const [via] = hostsIn(router).filter((one) => one !== ip);
  const ownRouter = via === undefined ? [] : [{ to: "default", via }];
  return {
    lease: {
      address: `${ip}/${prefix}`,
      routes: given.length > 0 ? given : ownRouter,
      nameServers: hostsIn(dns),
      timeServers: hostsIn(ntp),
      ...(isPacketSize(mtu) && { mtu: Number(mtu) }),
    },
  };
}

/** An address that one machine can have: servers that have none to give write 0.0.0.0. */
function isHost(address: string): boolean {
  const first = Number(address.split(".")[0]);
  return ipv4Pattern.test(address) && first > 0 && first !== 127 && first < 224;
}

const hostsIn = (text: string) => text.split(" ").filter(isHost);

/** Of a server that does not say how long its networks' prefix is: the address's class tells (RFC 791). */
function prefixOf(address: string): number {
  const first = Number(address.split(".")[0]);
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

/** Every host takes packets of 576 bytes (RFC 791). */
const isPacketSize = (text: string) => /^\d{3,5}$/.test(text) && Number(text) >= 576 && Number(text) <= 65_535;

/** "10.0.0.0/8 10.1.2.1 0.0.0.0/0 10.1.2.1": networks and their routers; the router 0.0.0.0 says that they are on the link. */
function parseRoutes(text: string): Route[] {
  const words = text.split(" ").filter((word) => word !== "");
  const routes: Route[] = [];
  for (let at = 0; at + 1 < words.length; at += 2) {
    const [network = "", length = ""] = (words[at] ?? "").split("/");
    const via = words[at + 1] ?? "";
    const isOnLink = via === "0.0.0.0";
    if (!ipv4Pattern.test(network) || !(isOnLink || isHost(via)) || !/^([12]?\d|3[0-2])$/.test(length)) continue;
    const to = length === "0" ? "default" : `${firstOf(network, Number(length))}/${length}`;
    routes.push(isOnLink ? { to } : { to, via });
  }
  return routes;
}

/** A network's first address: a server may leave bits set that are not its prefix's (RFC 3442), which the kernel refuses. */
function firstOf(network: string, length: number): string {
  const octets = network.split(".").map((octet, at) => {
    const kept = Math.max(0, Math.min(8, length - at * 8));
    return Number(octet) & ~(2 ** (8 - kept) - 1);
  });
  return octets.join(".");
}
