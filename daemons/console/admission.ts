import { isIPv6 } from "node:net";

/** Something that takes one of the places, and can be turned out of it. */
export interface Guest {
  destroy(): void;
}

export interface Places<G extends Guest> {
  /**
   * Gives `guest` a place under `holder`. Where the holder, or all together, have as many as they may, the one that has waited
   * longest goes: of the holder, or of the holder with the most.
   */
  enter(holder: string, guest: G): void;
  /** Frees the place of a guest; false when it has none any more. */
  leave(guest: G): boolean;
  readonly size: number;
}

/**
 * Places for connections of which nothing is known yet. Nobody is kept out by those who hold places and say nothing: who comes
 * is let in, and the oldest of whoever has the most is turned out. An honest handshake takes milliseconds.
 */
export function openPlaces<G extends Guest>(placesMax: number, ofOneMax: number): Places<G> {
  // Maps keep the order of entry.
  const holders = new Map<string, Set<G>>();
  const holderOf = new Map<G, string>();
  const leave = (guest: G): boolean => {
    const holder = holderOf.get(guest);
    if (holder === undefined) return false;
    holderOf.delete(guest);
    const all = holders.get(holder);
    all?.delete(guest);
    if (all?.size === 0) holders.delete(holder);
    return true;
  };
  const turnOut = (holder: string) => {
    const [oldest] = holders.get(holder) ?? [];
    if (oldest === undefined) return;
    leave(oldest);
    oldest.destroy();
  };
  const mostOf = () => [...holders].reduce((most, one) => (one[1].size > most[1].size ? one : most))[0];
  return {
    enter(holder, guest) {
      if ((holders.get(holder)?.size ?? 0) >= ofOneMax) turnOut(holder);
      else if (holderOf.size >= placesMax) turnOut(mostOf());
      holderOf.set(guest, holder);
      holders.set(holder, (holders.get(holder) ?? new Set<G>()).add(guest));
    },
    leave,
    get size() {
      return holderOf.size;
    },
  };
}

/** Who is counted as one by their address: an IPv6 host has a whole /64 to choose from; IPv4 in IPv6 is IPv4. */
export function holderOf(address: string | undefined): string {
  const plain = (address ?? "unknown").replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  if (!isIPv6(plain)) return plain;
  const [head = "", tail = ""] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  const rest = tail === "" ? [] : tail.split(":");
  const filled = plain.includes("::")
    ? [...groups, ...Array(8 - groups.length - rest.length).fill("0"), ...rest]
    : groups;
  return `${filled
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
