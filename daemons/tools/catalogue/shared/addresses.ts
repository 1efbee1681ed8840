import { lookup } from "node:dns/promises";
import { BlockList, isIP, isIPv4, SocketAddress } from "node:net";
import { networkInterfaces } from "node:os";
import { AiosError, errnoOf } from "#lib/errors";

/** Where an address leads: out to everyone's network, or to what stands close by and trusts those who reach it. */
type Reach = "public" | "loopback" | "link-local" | "private" | "own" | "special";

/** Addresses of one name that are tried at most. */
const addressesMax = 16;

/** IANA's special-purpose registries (RFC 6890 and its successors). "special" is what no host on the internet has. */
const ranges: readonly (readonly [Reach, readonly string[]])[] = [
  ["loopback", ["127.0.0.0/8", "::1/128"]],
  // Also where clouds tell a machine its secrets (169.254.169.254, fd00:ec2::254).
  ["link-local", ["169.254.0.0/16", "fe80::/10"]],
  ["private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"]],
  [
    "special",
    ["0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"].concat([
      "203.0.113.0/24",
      "224.0.0.0/4",
      "240.0.0.0/4",
      "2001::/23",
      "2001:db8::/32",
      "3fff::/20",
    ]),
  ],
];

const lists = ranges.map(([reach, subnets]) => [reach, listOf(subnets)] as const);
const global6 = listOf(["2000::/3"]);

/** Prefixes whose IPv6 addresses stand for one of IPv4, and the group of 16 bits at which it begins. */
const embedding = [
  { prefix: listOf(["::ffff:0:0/96"]), group: 6 },
  { prefix: listOf(["64:ff9b::/96"]), group: 6 },
  { prefix: listOf(["64:ff9b:1::/48"]), group: 6 },
  { prefix: listOf(["::/96"]), group: 6 },
  { prefix: listOf(["2002::/16"]), group: 1 },
] as const;

/** Where an IPv4 or IPv6 address leads, also when it is one within the other. `own` are the machine's addresses. */
export function reachOf(address: string, own: ReadonlySet<string> = ownAddresses()): Reach {
  const plain = address.replace(/%.*$/, "");
  const within = embedded(plain);
  if (within !== undefined && plain !== "::1") return reachOf(within, own);
  const family = isIPv4(plain) ? "ipv4" : "ipv6";
  const found = lists.find(([, list]) => list.check(plain, family))?.[0];
  if (found !== undefined) return found;
  if (family === "ipv6" && !global6.check(plain, "ipv6")) return "special";
  return own.has(spelled(plain)) ? "own" : "public";
}

/** The addresses of this machine's interfaces. */
export function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(all.map(({ address }) => spelled(address)));
}

/** The addresses of a host: itself, or what its name resolves to now. Throws FAILED_PRECONDITION when there are none. */
export async function addressesOf(host: string, signal: AbortSignal): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  signal.throwIfAborted();
  const refuse = (reason: string) => new AiosError("FAILED_PRECONDITION", { act: "look up", object: host, reason });
  try {
    // getaddrinfo cannot be stopped; it gives up by itself, and nobody waits for it any more.
    const found = await Promise.race([lookup(host, { all: true, order: "verbatim" }), whenAborted(signal)]);
    if (found.length === 0) throw refuse("it has no addresses");
    return found.slice(0, addressesMax).map(({ address }) => address);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOTFOUND") throw refuse("there is no such name");
    if (code === "EAI_AGAIN") throw refuse("no name server answers");
    throw error;
  }
}

/** One spelling for each address. */
export function spelled(address: string): string {
  const plain = address.replace(/%.*$/, "");
  return isIPv4(plain) ? plain : new URL(`http://[${plain}]`).hostname.slice(1, -1);
}

function embedded(address: string): string | undefined {
  if (isIPv4(address)) return undefined;
  const found = embedding.find(({ prefix }) => prefix.check(address, "ipv6"));
  if (found === undefined) return undefined;
  const [high = 0, low = 0] = groups(address).slice(found.group);
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

function groups(address: string): number[] {
  const [head = "", tail] = spelled(address).split("::");
  const numbers = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [before, after] = [numbers(head), numbers(tail ?? "")];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function listOf(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = "", length] = subnet.split("/");
    list.addSubnet(new SocketAddress({ address, family: isIPv4(address) ? "ipv4" : "ipv6" }), Number(length));
  }
  return list;
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}
