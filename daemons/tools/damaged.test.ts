import { existsSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { suspicionOf } from "#lib/data/damaged";
import { opening, watchDamage } from "#lib/data/watchful";
import { silentLog } from "#lib/log";
import { openState } from "./state/state.ts";
import { openUndos } from "./state/undo.ts";
import { type Machine, startMachine } from "./testing/harness.ts";

/** Pages that go bad in files that are too large to be read whole at each start. */

let machine: Machine;
let restarts: number;
beforeEach(async () => {
  restarts = 0;
  machine = await startMachine({ damaged: () => void restarts++, packages: { root: "/nowhere", env: {} } });
});
afterEach(() => machine.close());

const stat = (reason = "r") => machine.core.call("fs.stat", { path: "/" }, { reason });
const fileOf = (name: string) => `${machine.folder}/state/ledger/${name}`;
const verify = () => machine.operator.call("sec.verify_ledger", { full: true });

/** Overwrites the middle of a file. */
function harm(file: string): void {
  const { size } = statSync(file);
  const from = Math.floor(size / 4 / 4096) * 4096;
  writeSync(openSync(file, "r+"), Buffer.alloc(Math.floor(size / 2 / 4096) * 4096, 0xa5), undefined, undefined, from);
}

it("the ledger's: who reads is told, the file is checked at a new start, and the chain goes on", async () => {
  for (let at = 0; at < 15; at++) await Promise.all(Array.from({ length: 100 }, () => stat("x".repeat(1_000))));
  await machine.restart(() => {
    expect(statSync(fileOf("ledger.db")).size).toBeGreaterThan(2_097_152);
    harm(fileOf("ledger.db"));
  });
  expect(await verify()).toMatchObject({ success: false, error: expect.stringMatching(/its database is damaged/) });
  expect(restarts).toBe(1);
  expect(existsSync(suspicionOf(fileOf("ledger.db")))).toBe(true);
  await machine.restart();
  expect(await stat()).toMatchObject({ success: true });
  expect((await verify()).output.problems).toEqual([
    expect.stringMatching(/^entry 3\d{3} records a fault: the ledger could not be read \(.* page .*aside-/),
  ]);
  expect(readdirSync(fileOf("")).filter((name) => name.endsWith(".suspect"))).toEqual([]);
});

it("the tools' state: the start that meets it marks it, and the next one names what is lost", async () => {
  const content = "x".repeat(50_000);
  for (let at = 0; at < 60; at++)
    await machine.core.call("fs.write", { path: `${machine.folder}/f`, content: content + at });
  const folder = `${machine.folder}/state/ledger`;
  await machine.restart(async () => {
    expect(statSync(fileOf("tools.db")).size).toBeGreaterThan(2_097_152);
    harm(fileOf("tools.db"));
    const files = [fileOf("tools.db")];
    const noticed = watchDamage({ files, what: "x", next: "y", log: silentLog, restart: () => void restarts++ });
    const started = opening(noticed, async () => {
      const state = openState(folder, systemClock);
      await openUndos(state, `${folder}/undo`, systemClock).finally(() => state.commits.close());
    });
    await expect(started).rejects.toMatchObject({ code: "DATA_LOSS" });
  });
  expect(restarts).toBe(1);
  expect(await stat()).toMatchObject({ success: true });
  expect((await verify()).output.problems).toEqual([
    expect.stringMatching(/records a fault: tools.db could not be read .*undo plans/),
  ]);
});
