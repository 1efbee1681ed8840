/** Makes `count` calls, so many at a time. Returns the milliseconds of each, sorted, and the rate. */
export async function repeat(count: number, together: number, call: (at: number) => Promise<void>) {
  const times: number[] = [];
  let next = 0;
  const started = performance.now();
  const work = async () => {
    while (next < count) {
      const at = next++;
      const from = performance.now();
      await call(at);
      times.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  const perSecond = (count / (performance.now() - started)) * 1_000;
  return { times: times.sort((a, b) => a - b), perSecond };
}

/** The value that this share of the sorted ones stays below. */
export const quantile = (sorted: readonly number[], at: number) => sorted[Math.floor(sorted.length * at)] ?? 0;
