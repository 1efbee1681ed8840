import { chmodSync, writeFileSync } from "node:fs";
import { callAfter } from "#lib/clock";
import { ownFolder } from "#lib/sockets";
import { beginning } from "#lib/text";
import type { Children } from "./children.ts";
import type { Lease, Route } from "./lease.ts";
import { ipv4Pattern } from "./provision.ts";

/** What is asked of a server beside the client's own list (BusyBox's names): routes (RFC 3442) and time servers. */
const options = ["staticroutes", "ntpsrv"] as const;

/** What the DHCP client calls with each event: it tells init, which alone configures interfaces. */
const script = `#!/bin/sh
printf 'aios-dhcp %s ip=%s mask=%s router=%s dns=%s routes=%s ntp=%s\\n' \\
  "$1" "$ip" "$mask" "\${router%% *}" "$dns" "$staticroutes" "$ntpsrv"
`;

/** A client that has ended is started again after this long. */
const restartAfterMs = 5_000;

/** The longest line heard, characters. */
const lineLengthMax = 4_096;

export interface DhcpNeeds {
  /** /run/aios. The client's script is in init's own folder there: root runs it, and nobody else may write it. */
  readonly run: string;
  readonly hostname: string;
  readonly children: Children;
}

/** Runs a DHCP client on an interface for as long as that `exists`. `notice` hears of each lease, and undefined when there is none. */
export function runDhcp(
  nic: string,
  needs: DhcpNeeds,
  exists: () => boolean,
  notice: (lease: Lease | undefined) => void,
): void {
  const path = `${ownFolder(needs.run, "init")}/dhcp-event`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  // In the foreground; 4 requests 2 s apart, then again every 10 s for as long as it takes.
  const args = [
    ...["udhcpc", "-f", "-i", nic, "-s", path, "-t", "4", "-T", "2", "-A", "10"],
    ...["-x", `hostname:${needs.hostname}`],
    ...options.flatMap((option) => ["-O", option]),
  ];
  const client = needs.children.spawn("busybox", args, {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  client.on("error", () => notice(undefined));
  client.once("close", () => {
    if (!exists()) return;
    callAfter(restartAfterMs, () => runDhcp(nic, needs, exists, notice), "unheld");
  });
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
  const [, ip = "", mask = "", router = "", dns = "", routes = "", ntp = ""] =
    /^ip=(\S*) mask=(\S*) router=(\S*) dns=(.*?)(?: routes=(.*?) ntp=(.*))?$/.exec(rest) ?? [];
  const prefix = Number(mask);
  if (!ipv4Pattern.test(ip) || !Number.isInteger(prefix) || prefix < 1 || prefix > 32) return { lease: undefined };
  // A server that gives routes gives them all: the router counts no more (RFC 3442).
  const given = parseRoutes(routes);
  const ownRouter = ipv4Pattern.test(router) ? [{ to: "default", via: router }] : [];
  return {
    lease: {
      address: `${ip}/${prefix}`,
      routes: given.length > 0 ? given : ownRouter,
      nameServers: addressesIn(dns),
      timeServers: addressesIn(ntp),
    },
  };
}

const addressesIn = (text: string) => text.split(" ").filter((one) => ipv4Pattern.test(one));

/** "10.0.0.0/8 10.1.2.1 0.0.0.0/0 10.1.2.1": networks and their routers; the router 0.0.0.0 says that they are on the link. */
function parseRoutes(text: string): Route[] {
  const words = text.split(" ").filter((word) => word !== "");
  const routes: Route[] = [];
  for (let at = 0; at + 1 < words.length; at += 2) {
    const [network = "", length = ""] = (words[at] ?? "").split("/");
    const via = words[at + 1] ?? "";
    if (!ipv4Pattern.test(network) || !ipv4Pattern.test(via) || !/^([12]?\d|3[0-2])$/.test(length)) continue;
    const to = length === "0" ? "default" : `${network}/${length}`;
    routes.push(via === "0.0.0.0" ? { to } : { to, via });
  }
  return routes;
}
