import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { watchBusyCores } from "./busy-cores.ts";

let proc: string;
beforeEach(() => {
  proc = mkdtempSync("/tmp/aios-busy-");
  mkdirSync(join(proc, "42"));
});
afterEach(() => rmSync(proc, { recursive: true }));

it("tells how many cores others keep busy, beside the workers' own, while the models are at work", async () => {
  const clock = new ManualClock();
  const over = new AbortController();
  const told: number[] = [];
  let active = true;
  let [all, own] = [1000, 500];
  const write = () => {
    writeFileSync(join(proc, "stat"), `cpu  ${all} 0 0 99999 0 0 0 0 0 0\ncpu0 1 0 0 1\n`);
    writeFileSync(join(proc, "42/stat"), `42 (no de) S 1 42 42 0 -1 4 0 0 0 0 ${own} 0 0 0 20 0 1 0 1 1 1\n`);
  };
  const second = async (others: number, ours: number) => {
    [all, own] = [all + (others + ours) * 100, own + ours * 100];
    write();
    await clock.advance(1_000);
  };
  write();
  const watching = watchBusyCores({
    ...{
      own: () => [42, 43],
      active: () => active,
      told: (cores) => told.push(cores),
      clock,
      signal: over.signal,
      proc,
    },
  });
  await clock.advance(1_000);
  await second(0.2, 2);
  await second(1, 1);
  await second(1.1, 1);
  await second(2.7, 1);
  await second(0, 2);
  expect(told).toEqual([1, 3, 0]);
  active = false;
  await second(4, 0);
  active = true;
  await second(0, 2);
  await second(0, 2);
  expect(told).toEqual([1, 3, 0]);
  over.abort();
  await watching;
});
