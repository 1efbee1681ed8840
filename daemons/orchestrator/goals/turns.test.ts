import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { inTurn } from "./turns.ts";

it("makes so many calls at once and no more, in the order in which they came, also when some fail", async () => {
  const ends: (() => void)[] = [];
  const begun: number[] = [];
  const { call } = inTurn(
    {
      async call(at: number) {
        begun.push(at);
        await new Promise<void>((resolve) => ends.push(resolve));
        if (at % 2 === 0) throw new Error(`${at} failed`);
        return at;
      },
    },
    2,
  );
  const calls = Promise.allSettled([0, 1, 2, 3, 4].map((at) => call(at)));
  await turn();
  expect(begun).toEqual([0, 1]);
  for (let ended = 0; ended < 5; ended += 1) {
    ends[ended]?.();
    await turn();
    expect(begun).toHaveLength(Math.min(5, ended + 3));
  }
  expect(begun).toEqual([0, 1, 2, 3, 4]);
  expect((await calls).map(({ status }) => status)).toEqual([
    "rejected",
    "fulfilled",
    "rejected",
    "fulfilled",
    "rejected",
  ]);
  const again = call(1);
  ends.at(-1)?.();
  await expect(again).resolves.toBe(1);
});
