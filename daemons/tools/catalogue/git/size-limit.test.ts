import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { withinSize } from "./size-limit.ts";

it("a folder that takes long to look through is looked through by one at a time", async () => {
  let [now, most, looks] = [0, 0, 0];
  const sizeOf = async () => {
    looks += 1;
    now += 1;
    most = Math.max(most, now);
    await delay(1_200);
    now -= 1;
    return 1;
  };
  const { signal } = new AbortController();
  expect(await withinSize("/nowhere", 2, signal, () => delay(2_500, "done"), sizeOf)).toBe("done");
  expect(looks).toBeGreaterThan(1);
  expect(most).toBe(1);
});
