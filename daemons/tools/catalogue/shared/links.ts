import { isIP } from "node:net";
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import { spelled } from "./addresses.ts";
import { succeed } from "./program.ts";

/** The kernel's network interfaces and routes, read and set by iproute2's `ip`. */

/** The kernel's own rule is shorter, but such a name must also not look like an option. */
export const interfaceName = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}$",
  description: "a network interface such as eth0",
});

export interface Link {
  readonly name: string;
  readonly mac: string;
  readonly up: boolean;
  /** What the kernel says of its carrier: up, down, unknown … */
  readonly state: string;
  readonly mtu: number;
  /** Addresses with their prefix lengths, such as 192.0.2.1/24. */
  readonly addresses: readonly string[];
  /** Those that the kernel makes itself (fe80::…) and nobody sets. */
  readonly linkLocal: readonly string[];
}

export interface Route {
  /** An address with its prefix length; 0.0.0.0/0 or ::/0 for everything. */
  readonly destination: string;
  readonly gateway?: string;
  readonly interface?: string;
  readonly metric?: number;
  /** Who set it: "kernel" for an interface's own network, "dhcp", "static" … */
  readonly protocol?: string;
}

interface IpLink {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly operstate: string;
  readonly address?: string;
  readonly addr_info: readonly { local?: string; prefixlen: number; scope: string }[];
}

interface IpRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly dev?: string;
  readonly metric?: number;
  readonly protocol?: string;
}

export async function readLinks(signal: AbortSignal): Promise<Link[]> {
  const found = await ip<IpLink>(["address", "show"], signal);
  return found.map(({ ifname, flags, mtu, operstate, address = "", addr_info: infos }) => {
    const addresses = (linkLocal: boolean) =>
      infos
        .filter(({ local, scope }) => local !== undefined && (scope === "link") === linkLocal)
        .map(({ local = "", prefixlen }) => `${spelled(local)}/${prefixlen}`);
    return {
      name: ifname.replace(/@.*$/, ""),
      mac: address,
      up: flags.includes("UP"),
      state: operstate.toLowerCase(),
      mtu,
      addresses: addresses(false),
      linkLocal: addresses(true),
    };
  });
}

/** Throws NOT_FOUND when there is no such interface. */
export async function readLink(name: string, signal: AbortSignal): Promise<Link> {
  const link = (await readLinks(signal)).find((one) => one.name === name);
  if (link !== undefined) return link;
  throw new AiosError("NOT_FOUND", {
    act: "find interface",
    object: name,
    reason: "there is none of that name",
    next: "see net.interfaces",
  });
}

/** Routes of the main table, both families. */
export async function readRoutes(signal: AbortSignal): Promise<Route[]> {
  const [four, six] = await Promise.all([
    ip<IpRoute>(["-4", "route", "show"], signal),
    ip<IpRoute>(["-6", "route", "show"], signal),
  ]);
  return [...four.map((route) => routeOf(route, 4)), ...six.map((route) => routeOf(route, 6))];
}

function routeOf({ dst, gateway, via, dev, metric, protocol }: IpRoute, family: 4 | 6): Route {
  const to = gateway ?? via?.host;
  return {
    destination: cidr(dst === "default" ? everything[family] : dst),
    ...(to !== undefined && { gateway: spelled(to) }),
    ...(dev !== undefined && { interface: dev }),
    ...(metric !== undefined && { metric }),
    ...(protocol !== undefined && { protocol }),
  };
}

const everything = { 4: "0.0.0.0/0", 6: "::/0" } as const;

/** `ip`'s words for a route. */
export function routeWords({ destination, gateway, interface: dev, metric, protocol }: Route): string[] {
  return [
    destination,
    ...(gateway === undefined ? [] : ["via", gateway]),
    ...(dev === undefined ? [] : ["dev", dev]),
    ...(metric === undefined ? [] : ["metric", String(metric)]),
    ...(protocol === undefined ? [] : ["proto", protocol]),
  ];
}

export const familyOf = (address: string) => (address.includes(":") ? "-6" : "-4");

/** Does what one `ip` command says. */
export async function setByIp(words: readonly string[], act: string, signal: AbortSignal): Promise<void> {
  await succeed(["ip", ...words], { signal, timeoutMs: 10_000, act });
}

/** An address or network in one spelling; "default" is all of IPv4. A lone address has its whole length. Throws INVALID_ARGUMENT. */
export function cidr(given: string): string {
  const [address = "", length, more] = (given === "default" ? everything[4] : given).split("/");
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (family !== 0 && !address.includes("%") && more === undefined && prefix <= bits)
    return `${spelled(address)}/${prefix}`;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "read address",
    object: JSON.stringify(beginning(given, 60)),
    reason: "it is not an address with a prefix length",
    next: "give one such as 192.0.2.1/24 or 2001:db8::1/64",
  });
}

async function ip<T>(words: readonly string[], signal: AbortSignal): Promise<T[]> {
  const text = await succeed(["ip", "-json", ...words], { signal, timeoutMs: 5_000, act: "read the network by" });
  // iproute2 says nothing at all where the list is empty.
  return text.trim() === "" ? [] : (JSON.parse(text) as T[]).filter((entry) => Object.keys(entry as object).length > 0);
}
