/**
 * Cores are taken before they are given. A model with more threads than there are cores is hundreds of times slower, so
 * the real cores are shared among the workers that have calls: a worker is told to use fewer and says when no batch
 * with more is in flight, then another is told to use more; with more workers than cores they take turns of 300 ms.
 * What others on the machine keep busy is left to them (`busy-cores.ts`).
 */
import type { Clock } from "#lib/clock";

/** A worker that takes part, as far as its cores are concerned. */
export interface CoreUser {
  /** Resolves when no batch with more threads is in flight; 0 pauses it. */
  setThreads(threads: number): Promise<void>;
}

/** A worker's place. */
export interface Seat {
  /** The number that the worker was told last. */
  readonly threads: number;
  /** Most threads it can use. */
  wish(threads: number): void;
  /**
   * One more call needs cores; resolves when the worker has some. Calls of one worker share its cores.
   * Rejects with the signal's reason when that is aborted first.
   */
  enter(signal: AbortSignal): Promise<void>;
  /** One call fewer. */
  leave(): void;
  /** The worker has ended: its cores are free. */
  close(): void;
}

export interface Cores {
  /** Real ones; no more threads than this are ever running. */
  readonly total: number;
  /** How many of them others on the machine leave us; at least 1. */
  setUsable(cores: number): void;
  /** A seat for a worker that was started with `threads`. */
  seat(user: CoreUser, threads: number): Seat;
}

interface Place {
  readonly user: CoreUser;
  wish: number;
  calls: number;
  /** The number that the worker was told last. */
  threads: number;
  closed: boolean;
  waiting: (() => void)[];
}

/** When more workers than cores have calls, each turn of a worker lasts this long. */
const turnMs = 300;

/**
 * Shares `total` cores among the workers that have calls: two models that decode at once must not have more threads than
 * there are cores (a model with twice as many threads as cores is hundreds of times slower). Cores are taken from a worker
 * before they are given to another one; with more workers than cores they take turns.
 */
export function shareCores(total: number, clock: Clock): Cores {
  let usable = total;
  let turn: AbortController | undefined;
  /** Workers with calls, the one that has waited longest first. */
  let order: Place[] = [];
  const { settle, isSettled } = openSettling(() => shareOut(order, usable));

  const takeTurns = async (): Promise<void> => {
    if (turn !== undefined) return;
    turn = new AbortController();
    while (order.length > usable) {
      await clock.sleep(turnMs, turn.signal).catch(() => {});
      order = [...order.slice(usable), ...order.slice(0, usable)];
      settle();
    }
    turn = undefined;
  };

  const reshare = (): void => {
    settle();
    if (order.length > usable) takeTurns();
  };

  return {
    total,
    setUsable(cores) {
      const next = Math.max(1, Math.min(cores, total));
      if (next === usable) return;
      usable = next;
      reshare();
    },
    seat(user, threads) {
      const place: Place = { user, wish: threads, calls: 0, threads, closed: false, waiting: [] };
      const vacate = () => {
        order = order.filter((other) => other !== place);
        reshare();
      };
      return {
        get threads() {
          return place.threads;
        },
        wish(most) {
          place.wish = Math.max(1, Math.min(most, total));
          if (place.calls > 0) reshare();
        },
        async enter(signal) {
          signal.throwIfAborted();
          place.calls++;
          if (place.calls === 1) order.push(place);
          if (place.closed) return;
          reshare();
          if (place.threads > 0 && isSettled()) return;
          await waitFor(place, signal);
        },
        leave() {
          place.calls--;
          if (place.calls === 0) vacate();
        },
        close() {
          place.closed = true;
          for (const go of place.waiting.splice(0)) go();
          vacate();
        },
      };
    },
  };
}

/** Brings the workers to their shares, which may change meanwhile. */
function openSettling(shares: () => Map<Place, number>) {
  let settling: Promise<void> | undefined;
  let again = false;

  const settle = (): void => {
    if (settling !== undefined) again = true;
    else if (isSettled()) wake();
    else begin();
  };

  const begin = (): void => {
    settling = apply().finally(() => {
      settling = undefined;
      if (!again) return;
      again = false;
      settle();
    });
  };

  const isSettled = () =>
    settling === undefined && [...shares()].every(([place, threads]) => place.threads === threads);

  /** First takes, then gives. Idle workers keep what they were told: they run nothing. */
  const apply = async (): Promise<void> => {
    const wanted = [...shares()];
    await Promise.all(wanted.filter(([place, threads]) => threads < place.threads).map(tell));
    for (const entry of wanted.filter(([place, threads]) => threads > place.threads)) tell(entry);
    wake();
  };

  const tell = async ([place, threads]: [Place, number]): Promise<void> => {
    place.threads = threads;
    // A worker that ends meanwhile runs nothing.
    await place.user.setThreads(threads).catch(() => {});
  };

  const wake = (): void => {
    for (const [place] of shares()) {
      if (place.threads > 0) for (const go of place.waiting.splice(0)) go();
    }
  };

  return { settle, isSettled };
}

function waitFor(place: Place, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const go = () => {
      signal.removeEventListener("abort", leave);
      resolve();
    };
    const leave = () => {
      place.waiting = place.waiting.filter((other) => other !== go);
      reject(signal.reason);
    };
    place.waiting.push(go);
    signal.addEventListener("abort", leave, { once: true });
  });
}

/** Threads for each: one at least for as many as there are cores, then one more each in turn up to its wish. */
function shareOut(order: readonly Place[], cores: number): Map<Place, number> {
  const shares = new Map(order.map((place, at) => [place, at < cores ? 1 : 0]));
  let left = cores - Math.min(order.length, cores);
  while (left > 0) {
    const wanting = order.filter((place) => (shares.get(place) ?? 0) < place.wish);
    if (wanting.length === 0) break;
    for (const place of wanting.slice(0, left)) {
      shares.set(place, (shares.get(place) ?? 0) + 1);
      left--;
    }
  }
  return shares;
}
