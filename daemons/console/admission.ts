/**
 * Strangers take nothing from operators. At port 9090 the silent, handshakes, newcomers and operators have places of
 * their own. Who comes is let in; the oldest of whoever holds the most goes. A client speaks first, so the silent never
 * take a handshake's place; a handshake keeps its place for half a second; who asks for the machine by its name has
 * places beside those of the same address who name nobody (it proves nothing, and an indiscriminate flood does not know
 * it); and of those who wait the last and the first go in by turns: a flood from an operator's own address does not
 * push their handshake out. A limit that refuses the newcomer would let whoever holds connections close the port, the
 * emergency stop with it.
 */
import { isIPv6 } from "node:net";
import { type Clock, callAfter } from "#lib/clock";

/** Something that takes one of the places, and can be turned out of it. */
interface Guest {
  destroy(): void;
}

export interface Places<G extends Guest> {
  /**
   * Gives `guest` a place under `holder`, now or when one is free, and says so by `seated`. Where the holder, or all together,
   * have as many as they may, the one that has been there longest goes, once it has had its time: of the holder, or of the
   * holder with the most.
   */
  enter(holder: string, guest: G, seated?: () => void): void;
  /** Frees the place of a guest, or lets it wait no longer; false when it was not there any more. */
  leave(guest: G): boolean;
  /** Guests that have places. */
  readonly size: number;
}

interface PlaceLimits {
  readonly all: number;
  readonly ofOne: number;
  /** How long a guest may stay whoever else comes, ms; 0 = not at all, and nobody waits. */
  readonly undisturbedMs?: number;
  /** How many may wait for a place. Beyond it, the one that has waited longest goes. */
  readonly waiting?: { readonly all: number; readonly ofOne: number };
}

interface Stay<G> {
  readonly guest: G;
  readonly holder: string;
  readonly seated: () => void;
  sinceMs: number;
}

/**
 * Places for connections of which nothing is known yet. Nobody is kept out by those who hold places and do nothing: whoever has
 * had the time of an honest handshake makes room for the next. Of those who wait, the last to come and the first are let in by
 * turns: who is in earnest has mostly just come, and nobody waits without end. Holders with few places go before those with many.
 */
export function openPlaces<G extends Guest>(
  { all, ofOne, undisturbedMs = 0, waiting = { all: 1, ofOne: 1 } }: PlaceLimits,
  clock: Pick<Clock, "monotonic">,
): Places<G> {
  const inside = openTable<G>();
  const outside = openTable<G>();
  let looksAgain = false;

  const mayGo = (stay: Stay<G> | undefined) =>
    stay !== undefined && clock.monotonic() - stay.sinceMs >= undisturbedMs ? stay : undefined;
  /** Makes room for one more of `holder`; false when nobody has had their time yet. */
  const makeRoom = (holder: string): boolean => {
    const full = inside.count(holder) >= ofOne ? holder : inside.size >= all ? inside.fullest() : undefined;
    if (full === undefined) return true;
    const oldest = mayGo(inside.oldest(full));
    if (oldest === undefined) return false;
    inside.remove(oldest.guest);
    oldest.guest.destroy();
    return true;
  };
  let lastFirst = false;
  const next = (holder: string) => (lastFirst ? outside.newest(holder) : outside.oldest(holder));
  const letIn = (holder: string) => {
    for (let stay = next(holder); stay !== undefined && makeRoom(holder); stay = next(holder)) {
      lastFirst = !lastFirst;
      outside.remove(stay.guest);
      inside.add({ ...stay, sinceMs: clock.monotonic() });
      stay.seated();
    }
  };
  const letInAll = () => {
    let isFull = false;
    for (const holder of outside.holders().toSorted((a, b) => inside.count(a) - inside.count(b))) {
      const takesItsOwn = inside.count(holder) >= ofOne;
      if (isFull && !takesItsOwn) continue;
      letIn(holder);
      // Who waits on could be given no place of others': nor can those after it.
      isFull ||= outside.count(holder) > 0 && inside.count(holder) < ofOne;
    }
    lookAgain();
  };
  const lookAgain = () => {
    if (looksAgain || outside.size === 0) return;
    looksAgain = true;
    const look = () => {
      looksAgain = false;
      letInAll();
    };
    callAfter(undisturbedMs / 10, look, "unheld");
  };
  return {
    enter(holder, guest, seated = () => {}) {
      const full =
        outside.count(holder) >= waiting.ofOne ? holder : outside.size >= waiting.all ? outside.fullest() : undefined;
      const first = full === undefined ? undefined : outside.oldest(full);
      if (first !== undefined) {
        outside.remove(first.guest);
        first.guest.destroy();
      }
      outside.add({ guest, holder, seated, sinceMs: clock.monotonic() });
      letIn(holder);
      lookAgain();
    },
    leave(guest) {
      const was = inside.remove(guest) || outside.remove(guest);
      if (was) letInAll();
      return was;
    },
    get size() {
      return inside.size;
    },
  };
}

/** Stays by guest and by holder, in the order in which they came. */
function openTable<G>() {
  const stays = new Map<G, Stay<G>>();
  const byHolder = new Map<string, Set<Stay<G>>>();
  const of = (holder: string) => byHolder.get(holder) ?? new Set<Stay<G>>();
  return {
    add(stay: Stay<G>) {
      stays.set(stay.guest, stay);
      byHolder.set(stay.holder, of(stay.holder).add(stay));
    },
    remove(guest: G): boolean {
      const stay = stays.get(guest);
      if (stay === undefined) return false;
      stays.delete(guest);
      of(stay.holder).delete(stay);
      if (of(stay.holder).size === 0) byHolder.delete(stay.holder);
      return true;
    },
    count: (holder: string) => byHolder.get(holder)?.size ?? 0,
    holders: () => [...byHolder.keys()],
    fullest: () => [...byHolder].reduce((most, one) => (one[1].size > most[1].size ? one : most))[0],
    oldest: (holder: string) => of(holder).values().next().value,
    newest: (holder: string) => [...of(holder)].at(-1),
    get size() {
      return stays.size;
    },
  };
}

/** The holder of an address, for counting: an IPv6 host has a whole /64 to choose from; IPv4 in IPv6 is IPv4. */
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
