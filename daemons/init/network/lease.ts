/** A DHCP lease of one interface. */
export interface Lease {
  /** "10.0.2.15/24" */
  readonly address: string;
  readonly routes: readonly Route[];
  readonly nameServers: readonly string[];
  readonly timeServers: readonly string[];
  /** The largest packet that the link takes, bytes; undefined where the server does not say. */
  readonly mtu?: number;
}

export interface Route {
  /** "default", or a network: "10.0.0.0/8". */
  readonly to: string;
  /** A router, which may be outside of the address's own network; undefined: the network is on the link. */
  readonly via?: string;
}

/** The packet size of Ethernet: used where a lease said otherwise, and the next one says nothing. */
const mtuOfEthernet = 1_500;

/** The first interface's routes win, and the next ones' are there when it has none. */
const metricOf = (place: number) => 1_024 + place;

/**
 * The commands of `ip` that make an interface what its lease says, from what the one before said. What the lease before had
 * and this one has not goes first: an old address beside the new one in the same network would take it along when it goes.
 */
export function leaseLines(nic: string, place: number, before: Lease | undefined, after: Lease | undefined): string[] {
  const lines: string[] = [];
  if (before !== undefined && JSON.stringify(before.routes) !== JSON.stringify(after?.routes)) {
    lines.push(`route flush dev ${nic} proto dhcp`);
  }
  if (before !== undefined && before.address !== after?.address)
    lines.push(`address delete ${before.address} dev ${nic}`);
  if (after === undefined) return lines;
  const mtu = after.mtu ?? (before?.mtu === undefined ? undefined : mtuOfEthernet);
  if (mtu !== undefined) lines.push(`link set ${nic} mtu ${mtu}`);
  lines.push(`address replace ${after.address} dev ${nic}`);
  for (const { to, via } of after.routes) {
    // On the link: the router need not be in the address's own network, as with a lease of a single address (/32).
    const way = via === undefined ? `dev ${nic} scope link` : `via ${via} dev ${nic} onlink`;
    lines.push(`route replace ${to} ${way} proto dhcp metric ${metricOf(place)}`);
  }
  return lines;
}
