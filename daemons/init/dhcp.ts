import { chmodSync, writeFileSync } from "node:fs";
import type { Children } from "./children.ts";
import type { Nic } from "./hardware.ts";
import { ipv4Pattern } from "./provision.ts";

export interface Lease {
  /** "10.0.2.15/24" */
  readonly address: string;
  readonly router?: string;
  readonly nameServers: readonly string[];
}

/** What the DHCP client calls with each event: it tells init, which alone configures interfaces. */
const script = `#!/bin/sh
printf 'aios-dhcp %s ip=%s mask=%s router=%s dns=%s\\n' "$1" "$ip" "$mask" "\${router%% *}" "$dns"
`;

/** A client that has ended is started again after this long. */
const restartAfterMs = 5_000;

/** The longest line heard, characters. */
const lineLengthMax = 4_096;

/** Runs a DHCP client on each interface. `notice` hears of each lease, and undefined when there is none. */
export function runDhcp(
  needs: {
    readonly nics: readonly Nic[];
    readonly run: string;
    readonly hostname: string;
    readonly children: Children;
  },
  notice: (nic: string, lease: Lease | undefined) => void,
): void {
  const path = `${needs.run}/dhcp-event`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  for (const { name } of needs.nics) runClient(name, path, needs, (lease) => notice(name, lease));
}

function runClient(
  nic: string,
  scriptPath: string,
  { hostname, children }: { readonly hostname: string; readonly children: Children },
  notice: (lease: Lease | undefined) => void,
): void {
  // In the foreground; 4 requests 2 s apart, then again every 10 s for as long as it takes.
  const args = [
    "udhcpc",
    "-f",
    "-i",
    nic,
    "-s",
    scriptPath,
    "-t",
    "4",
    "-T",
    "2",
    "-A",
    "10",
    "-x",
    `hostname:${hostname}`,
  ];
  const client = children.spawn("busybox", args, {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  client.on("error", () => notice(undefined));
  client.once("close", () => {
    setTimeout(() => runClient(nic, scriptPath, { hostname, children }, notice), restartAfterMs).unref();
  });
  let rest = "";
  client.stdout?.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = (lines.pop() ?? "").slice(0, lineLengthMax);
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
  const [, event, ip = "", mask = "", router = "", dns = ""] =
    /^aios-dhcp (\w+) ip=(\S*) mask=(\S*) router=(\S*) dns=(.*)$/.exec(line) ?? [];
  if (event === "leasefail" || event === "nak") return { lease: undefined };
  if (event !== "bound" && event !== "renew") return undefined;
  const prefix = Number(mask);
  if (!ipv4Pattern.test(ip) || !Number.isInteger(prefix) || prefix < 1 || prefix > 32) return { lease: undefined };
  return {
    lease: {
      address: `${ip}/${prefix}`,
      ...(ipv4Pattern.test(router) && { router }),
      nameServers: dns.split(" ").filter((server) => ipv4Pattern.test(server)),
    },
  };
}
