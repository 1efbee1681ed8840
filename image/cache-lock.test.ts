import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { holdLock } from "./cache-lock.ts";

const folder = mkdtempSync(join(tmpdir(), "aios-lock-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a second build waits, says so, and goes on when the first has let go", async () => {
  const path = join(folder, "cache/lock");
  const order: string[] = [];
  const release = await holdLock(path, () => order.push("never"));
  const second = holdLock(path, () => {
    order.push("waiting");
    release();
  }).then((releaseSecond) => {
    order.push("second");
    releaseSecond();
  });
  await second;
  expect(order).toEqual(["waiting", "second"]);
});
