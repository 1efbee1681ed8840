type Calls = Readonly<Record<string, (...given: never[]) => Promise<unknown>>>;

/**
 * The same calls, so many at once at most; the others wait their turn, in the order in which they came. A thousand goals that
 * are taken up together would else be as many open streams, each of which weighs more than the goal.
 */
export function inTurn<C extends object>(calls: C, togetherMax: number): C {
  const waiting: (() => void)[] = [];
  let running = 0;
  const turn = async (call: () => Promise<unknown>): Promise<unknown> => {
    if (running < togetherMax) running += 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await call();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
  const bounded = Object.entries(calls as Calls).map(([name, call]) => [
    name,
    (...given: never[]) => turn(() => call(...given)),
  ]);
  return Object.fromEntries(bounded) as C;
}
