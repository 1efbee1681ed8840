/** A time server's reply, as an interval in which the true offset lies. */
export interface Sample {
  readonly server: string;
  readonly offsetMs: number;
  readonly distanceMs: number;
}

export interface Agreement {
  readonly offsetMs: number;
  /** The servers that agree. */
  readonly servers: readonly string[];
}

/**
 * The offset on which more than half of the servers agree (Marzullo's algorithm, as RFC 5905 selects): their intervals
 * have a point in common. Undefined when no majority does: then nobody knows who is right.
 */
export function agreement(samples: readonly Sample[]): Agreement | undefined {
  const edges = samples.flatMap(({ offsetMs, distanceMs }) => [offsetMs - distanceMs, offsetMs + distanceMs]);
  const holders = (at: number) =>
    samples.filter(({ offsetMs, distanceMs }) => offsetMs - distanceMs <= at && at <= offsetMs + distanceMs);
  // Where most intervals meet, one of them begins.
  const best = edges
    .map(holders)
    .reduce<readonly Sample[]>((most, next) => (next.length > most.length ? next : most), []);
  if (best.length * 2 <= samples.length) return undefined;
  const low = Math.max(...best.map(({ offsetMs, distanceMs }) => offsetMs - distanceMs));
  const high = Math.min(...best.map(({ offsetMs, distanceMs }) => offsetMs + distanceMs));
  return { offsetMs: (low + high) / 2, servers: best.map(({ server }) => server) };
}
