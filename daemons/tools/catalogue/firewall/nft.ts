import { BlockList } from "node:net";
import { type Argv, attachedSubnets, programFailed, runProgram } from "../shared/index.ts";

/** The machine's own table in the kernel's packet filter, always made as a whole from the rules and in one transaction. */

export interface Rule {
  readonly id: string;
  readonly action: "allow" | "deny";
  readonly direction: "in" | "out";
  /** Undefined is every protocol. */
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly port?: number;
  /** With it, `port` is the first of a range. */
  readonly lastPort?: number;
  /** The other side's addresses, with their prefix length; undefined is everyone. */
  readonly address?: string;
  readonly interface?: string;
  readonly reason: string;
}

const table = { family: "inet", table: "aios" } as const;

const hooks = [
  { chain: "input", direction: "in", peer: "saddr", own: "dport", link: "iifname" },
  { chain: "output", direction: "out", peer: "daddr", own: "sport", link: "oifname" },
] as const;

type Hook = (typeof hooks)[number];

/** Networks that operators manage the machine from, beside those that it is attached to. */
const privateNetworks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/** Where the management port stays open whatever the rules say: private networks, and those the machine is attached to. */
export function managementNetworks(): string[] {
  const covered = new BlockList();
  for (const network of privateNetworks) {
    const [address = "", length] = network.split("/");
    covered.addSubnet(address, Number(length), address.includes(":") ? "ipv6" : "ipv4");
  }
  const attached = attachedSubnets().filter(({ subnet, family }) => !covered.check(subnet.replace(/\/.*/, ""), family));
  return [...privateNetworks, ...new Set(attached.map(({ subnet }) => subnet))].sort();
}

/**
 * What replaces the table, in nft's own JSON. `management` is what {@link managementNetworks} says. No rules: no table.
 * The next boot's init gives nft the same, before there is a network.
 */
export function tableOf(rules: readonly Rule[], management: readonly string[], port: number): string {
  const own = { table: { family: table.family, name: table.table } };
  // Added first, so that there is one to delete.
  const cleared = [{ add: own }, { delete: own }];
  const made =
    rules.length === 0 ? [] : [{ add: own }, ...hooks.flatMap((hook) => chainOf(hook, rules, management, port))];
  return JSON.stringify({ nftables: [...cleared, ...made] });
}

/** Puts a table into the kernel. */
export async function applyTable(commands: string, signal: AbortSignal): Promise<void> {
  // As an argument: nft opens /dev/stdin by its name, which the socket that Node gives a child's input does not allow.
  await runSilently(["nft", "--json", commands], signal);
}

/** Without the rules in its error: they are long, and what is wrong is said beside them. */
async function runSilently(argv: Argv, signal: AbortSignal): Promise<void> {
  const ended = await runProgram(argv, { signal, timeoutMs: 10_000 });
  if (ended.exitCode !== 0) throw programFailed(["nft", "--json"], ended, "set the firewall by");
}

function chainOf(hook: Hook, rules: readonly Rule[], management: readonly string[], port: number): object[] {
  const base = { type: "filter", hook: hook.chain, prio: 0, policy: "accept" };
  const mine = rules.filter(({ direction }) => direction === hook.direction);
  // What is allowed is an exception from what is denied, in whatever order they came.
  const ordered = [
    ...mine.filter(({ action }) => action === "allow"),
    ...mine.filter(({ action }) => action === "deny"),
  ];
  return [
    { add: { chain: { ...table, table: table.table, name: hook.chain, ...base } } },
    ...guards(hook, management, port).map((expr) => add(hook, [...expr, { accept: null }], "guard")),
    ...ordered.map((rule) =>
      add(
        hook,
        [...matches(rule, hook), { counter: null }, rule.action === "allow" ? { accept: null } : { drop: null }],
        rule.id,
      ),
    ),
  ];
}

/**
 * What no rule can take away: what belongs to a connection that was let in or out (first: a denial of what comes in must not
 * drop the answers to the machine's own questions), the machine talking to itself, its address, its neighbours, and its
 * management.
 */
function guards(hook: Hook, management: readonly string[], port: number): object[][] {
  return [
    [{ match: { op: "in", left: { ct: { key: "state" } }, right: ["established", "related"] } }],
    [equals({ meta: { key: hook.link } }, "lo")],
    [
      equals(
        { payload: { protocol: "icmpv6", field: "type" } },
        { set: ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"] },
      ),
    ],
    [equals({ payload: { protocol: "udp", field: hook.own } }, 68)],
    ...management.map((network) => [
      peerIs(network, hook),
      equals({ payload: { protocol: "tcp", field: hook.own } }, port),
    ]),
  ];
}

function matches(rule: Rule, hook: Hook): object[] {
  const { protocol, port, lastPort, address } = rule;
  const ports = lastPort === undefined ? port : { range: [port, lastPort] };
  return [
    ...(rule.interface === undefined ? [] : [equals({ meta: { key: hook.link } }, rule.interface)]),
    ...(address === undefined ? [] : [peerIs(address, hook)]),
    ...(protocol === "icmp" ? [equals({ meta: { key: "l4proto" } }, { set: ["icmp", "ipv6-icmp"] })] : []),
    ...(protocol !== undefined && protocol !== "icmp" && port === undefined
      ? [equals({ meta: { key: "l4proto" } }, protocol)]
      : []),
    // A port of this machine for what comes in, of the other side for what goes out.
    ...(protocol !== undefined && port !== undefined ? [equals({ payload: { protocol, field: "dport" } }, ports)] : []),
  ];
}

/** A rule as nft would write it, for people. */
export function ruleText({
  action,
  direction,
  protocol,
  port,
  lastPort,
  address,
  interface: link,
  reason,
}: Rule): string {
  const [chain, name, peer] = direction === "in" ? ["input", "iifname", "saddr"] : ["output", "oifname", "daddr"];
  const ports = lastPort === undefined ? `${port}` : `${port}-${lastPort}`;
  const words = [
    `inet ${table.table} ${chain}`,
    ...(link === undefined ? [] : [`${name} ${link}`]),
    ...(address === undefined ? [] : [`${address.includes(":") ? "ip6" : "ip"} ${peer} ${address}`]),
    ...(protocol === undefined ? [] : [port === undefined ? `meta l4proto ${protocol}` : `${protocol} dport ${ports}`]),
    `counter ${action === "allow" ? "accept" : "drop"}`,
  ];
  return `${words.join(" ")}  # ${reason}`;
}

function peerIs(network: string, hook: Hook): object {
  const [addr = "", len] = network.split("/");
  const protocol = addr.includes(":") ? "ip6" : "ip";
  return equals({ payload: { protocol, field: hook.peer } }, { prefix: { addr, len: Number(len) } });
}

const equals = (left: object, right: unknown) => ({ match: { op: "==", left, right } });
const add = ({ chain }: Hook, expr: object[], comment: string) => ({
  add: { rule: { ...table, chain, expr, comment } },
});

interface Listed {
  readonly rule?: {
    readonly comment?: string;
    readonly expr: readonly { counter?: { packets: number; bytes: number } }[];
  };
}

/** Packets and bytes that met each rule, by its id; undefined when the kernel has no such table. */
export async function readRules(
  signal: AbortSignal,
): Promise<Map<string, { packets: number; bytes: number }> | undefined> {
  const argv = ["nft", "--json", "list", "table", table.family, table.table] as const;
  const { exitCode, stdout } = await runProgram(argv, { signal, timeoutMs: 10_000 });
  if (exitCode !== 0) return undefined;
  const listed = (JSON.parse(stdout) as { nftables: Listed[] }).nftables;
  return new Map(
    listed.flatMap(({ rule }) => {
      const counter = rule?.expr.find((part) => part.counter !== undefined)?.counter;
      return counter === undefined ? [] : [[rule?.comment ?? "", { packets: counter.packets, bytes: counter.bytes }]];
    }),
  );
}
