import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { checkHere, openBackups } from "./backup.ts";
import { keepUp } from "./upkeep.ts";

const start = Date.UTC(2026, 10, 21);
const day = 86_400_000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-upkeep-");
});
afterEach(() => rmSync(folder, { recursive: true }));

it("a clock that is far ahead for a while costs two days of what is kept, not all", async () => {
  const clock = new ManualClock(start);
  const pruned: number[] = [];
  const run = async (atMs: number) => {
    clock.setTo(atMs);
    const upkeep = keepUp({
      ...{ stores: [], vacuumFile: join(folder, "vacuum"), pruneFile: join(folder, "pruned"), clock, log: silentLog },
      backups: openBackups({ folder, stores: [], check: checkHere, clock, log: silentLog }),
      prune: async (nowMs) => {
        pruned.push((nowMs - start) / day);
        return 0;
      },
    });
    const before = pruned.length;
    await clock.advance(300_000);
    await expect.poll(() => pruned.length).toBe(before + 1);
    await upkeep.stop();
  };
  for (const days of [0, 400, 401, 1, 2]) await run(start + days * day - 300_000);
  expect(pruned).toEqual([0, 2, 4, 1, 2]);
});
