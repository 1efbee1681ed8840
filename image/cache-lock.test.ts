import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { holdLock } from "./cache-lock.ts";

const folder = mkdtempSync(join(tmpdir(), "aios-lock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a second build waits, says so, and goes on when the first has let go", async () => {
  const path = join(folder, "cache/lock");
  const order: string[] = [];
  const release = await holdLock(path, () => order.push("never"));
  const second = holdLock(path, () => {
    order.push("waiting");
    void release();
  }).then(async (releaseSecond) => {
    order.push("second");
    await releaseSecond();
  });
  await second;
  expect(order).toEqual(["waiting", "second"]);
});

test("what has been let go of may be had at once, also by a program that is waited for", async () => {
  const path = join(folder, "cache/lock");
  const release = await holdLock(path, () => {});
  await release();
  expect(spawnSync("flock", ["--nonblock", path, "true"]).status).toBe(0);
});

test("who waits gives up when asked to, and who holds it does not", async () => {
  const path = join(folder, "cache/lock");
  const stop = new AbortController();
  const release = await holdLock(path, () => {}, stop.signal);
  const second = holdLock(path, () => stop.abort(new Error("interrupted")), stop.signal);
  await expect(second).rejects.toThrow("interrupted");
  expect(spawnSync("flock", ["--nonblock", path, "true"]).status).not.toBe(0);
  await release();
});
