import { expect, it } from "vitest";
import { ManualClock } from "./clock.ts";
import { AiosError } from "./errors.ts";
import { isAway, type Patience, patiently } from "./patience.ts";

const away = new AiosError("UNAVAILABLE", "it restarts");

/** Fails so many times, and says when it was called. */
async function calls(patience: Patience, failures: number, error: Error = away, signal?: AbortSignal) {
  const clock = new ManualClock();
  const began = clock.monotonic();
  const at: number[] = [];
  const told: unknown[] = [];
  const call = async (attempt: number) => {
    at.push(clock.monotonic() - began);
    if (attempt <= failures) throw error;
    return attempt;
  };
  const failed = (one: unknown) => void told.push(one);
  const done = patiently(patience, { clock, failed, ...(signal && { signal }) }, call).catch((one: unknown) => one);
  for (let step = 0; step < 40; step += 1) await clock.advance(50);
  return { at, told, result: await done };
}

it("waits twice as long after each failure, up to the longest", async () => {
  expect(await calls({ firstMs: 50, mostMs: 200 }, 4)).toMatchObject({ at: [0, 50, 150, 350, 550], result: 5 });
  expect(await calls({ firstMs: 100, mostMs: 100 }, 3)).toMatchObject({
    at: [0, 100, 200, 300],
    told: [away, away, away],
  });
});

it("ends after its tries, and at once for what no try mends", async () => {
  expect(await calls({ firstMs: 50, triesMax: 3 }, 9)).toMatchObject({ at: [0, 50, 150], result: away });
  const wrong = new AiosError("INVALID_ARGUMENT", "no");
  expect(await calls({ firstMs: 50, passing: isAway }, 9, wrong)).toMatchObject({ at: [0], told: [], result: wrong });
});

it("is not begun when nobody waits any more", async () => {
  expect(await calls({ firstMs: 50 }, 0, away, AbortSignal.abort(away))).toMatchObject({ at: [], result: away });
});
