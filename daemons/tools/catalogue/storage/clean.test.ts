import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Machine, startMachine } from "../../testing/harness.ts";

/** storage.clean, on a root of its own. */

const dayMs = 86_400_000;
const clock = new ManualClock(Date.UTC(2026, 5, 20));
let root: string;
let machine: Machine;

beforeAll(async () => {
  root = mkdtempSync("/tmp/aios-clean-");
  machine = await startMachine({ clock, packages: { root, env: {} } });
});
afterAll(() => {
  machine.close();
  rmSync(root, { recursive: true });
});

const put = (folder: string, ...names: string[]) => {
  mkdirSync(folder, { recursive: true });
  for (const name of names) writeFileSync(`${folder}/${name}`, name);
};
const clean = (input = {}) => machine.operator.call("storage.clean", input);
const write = (name: string, content: string) =>
  machine.operator.call("fs.write", { path: `${root}/${name}`, content });

it("deletes what nobody misses, and nothing else", async () => {
  put(`${root}/var/cache/apt/archives`, "a_1_amd64.deb", "b_2_all.deb", "lock");
  put(`${root}/var/log/aios`, "tools.log", "tools.log.1", "tools.log.2");
  const memory = `${machine.folder}/state/memory`;
  put(memory, "working.db.aside-2026-06-01T00-00-00-000Z", "working.db.aside-2026-06-01T00-00-00-000Z-wal");
  put(memory, "working.db.aside-2026-06-19T00-00-00-000Z", "working.db");
  const ledger = `${machine.folder}/state/ledger`;
  put(ledger, "ledger.pub.aside-2026-06-01T00-00-00-000Z");
  const { executionId } = await write("f", "one");
  const answer = await clean();
  expect(answer).toMatchObject({ success: true, backupId: "" });
  expect(answer.output.cleared).toEqual([
    { what: "packages that were fetched to be installed", count: 2 },
    { what: "logs that were continued in another file", count: 2 },
    { what: expect.stringContaining("moved aside more than seven days ago"), count: 2 },
  ]);
  expect(readdirSync(`${root}/var/cache/apt/archives`)).toEqual(["lock"]);
  expect(readdirSync(`${root}/var/log/aios`)).toEqual(["tools.log"]);
  expect(readdirSync(memory).sort()).toEqual(["working.db", "working.db.aside-2026-06-19T00-00-00-000Z"]);
  // It checks what was signed before.
  expect(existsSync(`${ledger}/ledger.pub.aside-2026-06-01T00-00-00-000Z`)).toBe(true);
  expect((await machine.operator.raw.rollback({ executionId, reason: "r" })).success).toBe(true);
});

it("gives up what takes calls back when it is told so", async () => {
  await write("f", "one");
  const { executionId } = await write("f", "x".repeat(100_000));
  await write("f", "two");
  expect((await clean()).output.cleared).toEqual([]);
  const { cleared } = (await clean({ undo_copies: true })).output;
  expect(cleared).toEqual([{ what: "copies by which calls could be taken back", count: expect.any(Number) }]);
  expect(cleared[0].count).toBeGreaterThanOrEqual(2);
  await expect(machine.operator.raw.rollback({ executionId, reason: "r" })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: expect.stringContaining("its backup had to make room"),
  });
});

it("is not needed for what the tools keep no longer: that goes by itself", async () => {
  const { executionId } = await write("f", "three");
  clock.setTo(clock.now() + 8 * dayMs);
  await clock.advance(3_600_000);
  await expect
    .poll(() => machine.operator.raw.rollback({ executionId, reason: "r" }).catch(({ message }: Error) => message))
    .toContain("more than seven days ago");
});

it("changes something, so that readers may not call it, and agents only with a grant", async () => {
  await expect(machine.person("reader").call("storage.clean")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(machine.person("operator").call("storage.clean", { undo_copies: true })).rejects.toMatchObject({
    message: expect.stringContaining("needs the role admin"),
  });
  await expect(machine.agent("task").call("storage.clean")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});
